/**
 * Fuzzing of the WebSocket protocol: whatever is sent is answered as the protocol says, and the connection lives.
 *
 *     deno task fuzz         100,000 cases, 30,000 of them messages here; -- CASES SEED for others
 *     deno task test         about 900
 *
 * @module
 */
import { deepEqual, equal, fail, ok } from "node:assert/strict";
import fc from "fast-check";
import { type ServerMessage, serverMessageSchema } from "../../schemas/ws_protocol.ts";
import { extentAsked, startWorld, tell, type World } from "./world.ts";
import {
  type ConnectionCase,
  connectionCases,
  leadsInto,
  type Reading,
  readMessage,
  writeMessage,
} from "./ws_messages.ts";

/** Connections at once. */
const lanes = 8;
/** The mean of what {@linkcode connectionCases} makes. */
const messagesMean = 10;
const shrinksMax = 300;
const answerTimeoutMs = 15_000;
/** Those of `kernel/api/ws/connection.ts`. */
const closeCodes = [1001, 4401, 4408, 4429];
const { cases, seed, isLongRun } = extentAsked(0.3);

Deno.test(`the protocol answers ${cases} messages of any kind (seed ${seed}) and the connection lives`, async () => {
  await using world = await startWorld();
  const job = await world.airlock.request<{ id: string }>("POST", "/v1/jobs", {
    plugin: "steady",
    action: "run",
  });
  world.pools.add("jobs", job.body.id);
  const progress = { messages: 0, connections: 0, isOver: false };
  const counts = new Map<string, number>();
  const startedMs = performance.now();
  const connections = connectionCases();
  const failures = await Promise.all(Array.from({ length: lanes }, async (_, lane) => {
    let shrinksLeft = shrinksMax;
    const property = fc.asyncProperty(connections, async (one) => {
      if (progress.isOver || shrinksLeft <= 0) return;
      progress.connections += 1;
      progress.messages += one.messages.length;
      if (isLongRun && progress.connections % 500 === 0) tell(`${progress.messages} messages`);
      try {
        await converse(one, world, counts);
        if (shrinksLeft < shrinksMax) shrinksLeft -= 1;
      } catch (error) {
        if (isLongRun && shrinksLeft === shrinksMax) tell(`found: ${String(error).slice(0, 4_000)}`);
        shrinksLeft -= 1;
        throw error;
      }
    });
    const numRuns = Math.ceil(cases / lanes / messagesMean);
    const result = await fc.check(property, { numRuns, seed: seed + lane });
    if (!result.failed) return [];
    progress.isOver = true;
    return [
      result.errorInstance instanceof Error ? result.errorInstance.message : String(result.errorInstance),
    ];
  }));
  if (isLongRun) {
    const seconds = Math.round((performance.now() - startedMs) / 1_000);
    tell(`${progress.messages} messages on ${progress.connections} connections in ${seconds} s`);
    for (const [what, count] of [...counts].sort()) tell(`  ${what}: ${count}`);
  }
  const found = failures.flat();
  if (found.length > 0) found.push(...world.errors());
  if (found.length > 0) fail(`${found.length} found with seed ${seed}:\n${found.join("\n\n")}`);
  await world.check();
});

/** Plays one case. Throws with all that was sent. */
async function converse(one: ConnectionCase, world: World, counts: Map<string, number>): Promise<void> {
  const init = { type: "INIT", id: "init", payload: { version: "1.0", feed: one.init === "feed" } };
  const sent = [
    ...(one.init === "none" ? [] : [JSON.stringify(init)]),
    ...one.messages.map((message) => writeMessage(message, (text) => world.pools.fill(text))),
  ];
  const client = new Client(world, one.role);
  try {
    await client.opened;
    for (const message of sent) client.send(message);
    if (one.isCut) return;
    const readings = sent.map((message) => readMessage(message, one.role === "viewer" ? 65_536 : 200_000));
    await client.answered(readings);
    check(readings, client.received);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const shown = sent.map((text) => `    ${show(text)}`).join("\n");
    throw new Error(`${message}\n  as "${one.role}", sent:\n${shown}`, { cause: error });
  } finally {
    await client.close();
    for (const { type, payload } of client.received) {
      const what = type === "ERROR" ? `ERROR ${payload.code}` : type;
      counts.set(what, (counts.get(what) ?? 0) + 1);
    }
  }
}

function check(readings: readonly Reading[], received: readonly ServerMessage[]): void {
  const invalid = received.flatMap((message) =>
    message.type === "ERROR" && message.payload.code === "INVALID_MESSAGE" ? [message] : []
  );
  // They are told in the order in which they came; between them may be such that fit, and come at a wrong time.
  let at = 0;
  for (const reading of readings) {
    if (reading.kind === "fits") continue;
    while (at < invalid.length && invalid[at]?.id !== reading.id) at += 1;
    const answer = invalid[at];
    ok(answer !== undefined, `no INVALID_MESSAGE for ${JSON.stringify(reading).slice(0, 500)}`);
    at += 1;
    const paths = (answer.payload.errors ?? []).map(({ path }) => path);
    ok(paths.length > 0, "INVALID_MESSAGE without a path");
    if (reading.value === undefined) deepEqual(paths, [""]);
  }
  const malformed = readings.filter(({ kind }) => kind === "malformed");
  for (const { id, payload: { errors = [] } } of invalid) {
    const like = readings.filter((reading) =>
      (reading.kind === "fits" ? reading.message.id : reading.id) === id
    );
    const values = like.map((reading) => reading.kind === "fits" ? reading.message : reading.value);
    for (const { path } of errors) {
      ok(values.some((value) => leadsInto(path, value)), `${JSON.stringify(path)} leads nowhere`);
    }
  }
  ok(invalid.length >= malformed.length);
  const failed = received.find(({ type, payload }) =>
    type === "ERROR" && payload.code === "PROCESSING_ERROR"
  );
  equal(failed, undefined, JSON.stringify(failed));
}

class Client {
  readonly received: ServerMessage[] = [];
  readonly opened: Promise<void>;
  readonly #closed = Promise.withResolvers<void>();
  readonly #socket: WebSocket;
  #problem: string | undefined;
  #changed = Promise.withResolvers<void>();

  constructor({ airlock, tokens }: World, role: ConnectionCase["role"]) {
    const url = `${airlock.url.replace("http", "ws")}/v1/ws`;
    this.#socket = new WebSocket(url, ["airlock.v1", `bearer.${tokens[role]}`]);
    const opened = Promise.withResolvers<void>();
    this.opened = opened.promise;
    this.#socket.onopen = () => opened.resolve();
    this.#socket.onerror = (event) => {
      opened.reject(new Error(event instanceof ErrorEvent ? event.message : "the socket failed"));
    };
    this.#socket.onclose = ({ code }) => {
      if (code !== 1000 && !closeCodes.includes(code)) this.#problem ??= `closed with ${code}`;
      this.#closed.resolve();
      this.#changed.resolve();
    };
    this.#socket.onmessage = ({ data }) => this.#receive(data);
  }

  send(message: string | Uint8Array<ArrayBuffer>): void {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(message);
  }

  /** Resolves when each message that has an id was answered, and a PING after all of them. */
  async answered(readings: readonly Reading[]): Promise<void> {
    this.send(JSON.stringify({ type: "PING", id: "last", payload: {} }));
    const due = new Map([["last", 1]]);
    for (const reading of readings) {
      const id = reading.kind === "fits" ? reading.message.id : reading.id;
      if (id !== null) due.set(id, (due.get(id) ?? 0) + 1);
    }
    const isDone = () => due.entries().every(([id, count]) => this.#answersTo(id) >= count);
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      this.#changed.resolve();
    }, answerTimeoutMs);
    try {
      while (
        !isDone() && this.#problem === undefined && this.#socket.readyState === WebSocket.OPEN && !isLate
      ) {
        await this.#changed.promise;
        this.#changed = Promise.withResolvers<void>();
      }
    } finally {
      clearTimeout(timer);
    }
    equal(this.#problem, undefined);
    const late = [...due].filter(([id, count]) => this.#answersTo(id) < count).map(([id]) => id);
    deepEqual(late, [], "requests without an answer");
  }

  async close(): Promise<void> {
    this.#socket.close();
    await this.#closed.promise;
  }

  /** Messages that may be the one answer to a request. */
  #answersTo(id: string): number {
    const types = ["READY", "PONG", "RESULT", "COMPLETE", "ERROR"];
    return this.received.filter((message) => message.id === id && types.includes(message.type)).length;
  }

  #receive(data: unknown): void {
    const parsed = typeof data === "string" ? serverMessageSchema.safeParse(JSON.parse(data)) : undefined;
    if (parsed?.success) this.received.push(parsed.data);
    else {this.#problem ??= `not a message of the protocol: ${
        String(data).slice(0, 1_000)
      } ${parsed?.error.message}`;}
    this.#changed.resolve();
  }
}

function show(message: string | Uint8Array): string {
  const text = typeof message === "string" ? JSON.stringify(message) : `bytes ${message.toHex()}`;
  return text.length > 2_000 ? `${text.slice(0, 2_000)}… of ${message.length}` : text;
}

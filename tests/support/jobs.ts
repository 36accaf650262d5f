/**
 * Jobs as a caller sees them over HTTP: enqueued, watched to their end, and found again in the ledger.
 *
 * The plugin `worker` does what the tests need. It writes what it does into its folder, `+name` when it begins and
 * `-name` when it is done, and what waits goes on when a file appears there: so no test depends on a clock.
 *
 * @module
 */
import { deepEqual, equal, ok } from "node:assert/strict";
import type { JobView } from "../../schemas/job.ts";
import { type Airlock, manifest, serveCommand, until } from "./airlock.ts";
import { runToEnd } from "./processes.ts";

/** For what takes a moment on a slow machine. */
export const patienceMs = 20_000;

const source = `
import { appendFileSync, existsSync, readFileSync } from "node:fs";
const tell = (ctx, line) => appendFileSync(ctx.dataDir + "/trace", line + "\\n");
const told = (ctx, line) => readFileSync(ctx.dataDir + "/trace", "utf8").split("\\n").filter((one) => one === line).length;
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const opened = async (ctx, gate) => { while (!existsSync(ctx.dataDir + "/" + gate)) await pause(5); };
const forever = () => new Promise(() => {});
const crash = () => { setTimeout(() => { throw new Error("crashed"); }); return forever(); };
async function gated({ name, gate }, ctx) {
  tell(ctx, "+" + name);
  await opened(ctx, gate);
  tell(ctx, "-" + name);
  return name;
}
export const actions = {
  echo: (input) => input,
  job: (_, ctx) => ctx.job,
  double: ({ value }) => value * 2,
  sum: ({ values }) => values.reduce((a, b) => a + b, 0),
  fail({ text }) { throw new Error(text ?? "no"); },
  strict: (input) => input,
  gated, again: gated, single: gated, pair: gated, wide: gated, short: gated,
  async *stream({ count, text = "", gate }, ctx) {
    for (let token = 1; token <= count; token++) {
      yield text + token;
      ctx.progress(token / (count + 1), text + "note " + token);
      ctx.log.info(text + "line " + token);
    }
    if (gate !== undefined) await opened(ctx, gate);
    return text + "done";
  },
  /** Streams until it is told to stop. Told while it stands at its yield, it is asked for nothing more: it ends there. */
  async *heeding({ name }, ctx) {
    try {
      for (let token = 1; !ctx.signal.aborted; token++) {
        yield token;
        await pause(5);
      }
    } finally {
      if (ctx.signal.aborted) tell(ctx, "told " + name);
    }
  },
  async heedless({ name }, ctx) {
    tell(ctx, "+" + name);
    for (;;) await pause(5);
  },
  flaky({ failures }, ctx) {
    if (ctx.job.attempt <= failures) throw new Error("not yet");
    return ctx.job.attempt;
  },
  async mended({ gate }, ctx) {
    if (!existsSync(ctx.dataDir + "/" + gate)) throw new Error("not yet");
    return "mended";
  },
  crash({ name, times }, ctx) {
    tell(ctx, "+" + name);
    return told(ctx, "+" + name) <= times ? crash() : "recovered";
  },
  crashAgain: (input, ctx) => actions.crash(input, ctx),
};`;

const idempotent = { idempotent: true };
const workerActions = {
  ...{ echo: {}, job: {}, double: {}, sum: {}, fail: {}, heedless: {}, mended: {}, crash: {} },
  strict: { input: { type: "number" }, retry: { attempts: 5, backoffMs: 1 } },
  gated: { concurrency: 64 },
  again: { ...idempotent, concurrency: 64 },
  single: { concurrency: 1 },
  pair: { concurrency: 2 },
  wide: { concurrency: 64 },
  short: { timeoutMs: 150 },
  stream: { stream: true },
  heeding: { stream: true },
  flaky: { retry: { attempts: 3, backoffMs: 10 } },
  crashAgain: idempotent,
};

/** The worker as a package, under an id of its own. */
export function workerPackage(id = "worker", more: Record<string, unknown> = {}): Record<string, string> {
  return { "plugin.jsonc": manifest(id, { actions: workerActions, ...more }), "mod.ts": source };
}

export interface JobOptions {
  readonly plugin?: string;
  /** Of the caller; the administrator's, if left out. */
  readonly token?: string;
  readonly [member: string]: unknown;
}

const authorization = (token: string | undefined): Record<string, string> =>
  token === undefined ? {} : { authorization: `Bearer ${token}` };

/** Enqueues a job, which must be accepted. */
export async function enqueue(
  airlock: Airlock,
  action: string,
  input: unknown = {},
  { plugin = "worker", token, ...more }: JobOptions = {},
): Promise<JobView> {
  const asked = { plugin, action, input, ...more };
  const { status, body } = await airlock.request<JobView>("POST", "/v1/jobs", asked, authorization(token));
  equal(status, 202, JSON.stringify(body));
  return body;
}

export async function show(airlock: Airlock, { id }: { id: string }, token?: string): Promise<JobView> {
  const { status, body } = await airlock.request<JobView>(
    ...["GET", `/v1/jobs/${id}`, undefined] as const,
    authorization(token),
  );
  equal(status, 200, JSON.stringify(body));
  return body;
}

/** Waits until the job is in one of these states. */
export async function reaches(
  airlock: Airlock,
  job: { id: string },
  ...states: readonly JobView["state"][]
): Promise<JobView> {
  let last: JobView | undefined;
  try {
    return await until(`job ${job.id} ${states.join(" or ")}`, async () => {
      last = await show(airlock, job);
      return states.includes(last.state) && last;
    }, patienceMs);
  } catch (error) {
    throw new Error(`${error}, but ${JSON.stringify(last)}`, { cause: error });
  }
}

/** Waits for its end. */
export function ended(airlock: Airlock, job: { id: string }): Promise<JobView> {
  return reaches(airlock, job, "completed", "failed", "cancelled");
}

export function endedAll(airlock: Airlock, jobs: readonly { id: string }[]): Promise<JobView[]> {
  return Promise.all(jobs.map((job) => ended(airlock, job)));
}

/** Enqueues a job and waits for its end. */
export async function run(
  airlock: Airlock,
  action: string,
  input?: unknown,
  options?: JobOptions,
): Promise<JobView> {
  return await ended(airlock, await enqueue(airlock, action, input, options));
}

/** `cancel` or `retry`; the job as it is then. */
export async function order(airlock: Airlock, verb: string, { id }: { id: string }): Promise<JobView> {
  const { status, body } = await airlock.request<JobView>("POST", `/v1/jobs/${id}/${verb}`);
  equal(status, 200, JSON.stringify(body));
  return body;
}

export interface JobEvent {
  readonly id: string;
  readonly event: string;
  /** Parsed. */
  readonly data: unknown;
}

/** Parses events of jobs and of the feed, as strictly as they are sent. */
export async function* parseEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<JobEvent> {
  let pending = "";
  for await (const text of body.pipeThrough(new TextDecoderStream())) {
    pending += text;
    for (let end = pending.indexOf("\n\n"); end >= 0; end = pending.indexOf("\n\n")) {
      const block = pending.slice(0, end);
      pending = pending.slice(end + 2);
      if (block.startsWith(":") || /^id: [0-9a-f-]+$/.test(block)) continue;
      const match = /^id: ([0-9a-f-]+)\nevent: ([A-Z_]+)\ndata: ([^\r\n]*)$/.exec(block);
      ok(match !== null, `not an event: ${JSON.stringify(block)}`);
      const [, id = "", event = "", data = ""] = match;
      yield { id, event, data: JSON.parse(data) };
    }
  }
  equal(pending, "");
}

/** Events of a job from its first, or after one, as they come; it ends with the job. */
export async function* watch(airlock: Airlock, { id }: { id: string }, after?: string) {
  const headers: Record<string, string> = after === undefined ? {} : { "last-event-id": after };
  const response = await airlock.fetch("GET", `/v1/jobs/${id}/events`, undefined, headers);
  if (response.status === 204) return;
  equal(response.status, 200);
  ok(response.body !== null);
  yield* parseEvents(response.body);
}

/** All of its events; the job must end. */
export async function eventsOf(airlock: Airlock, job: { id: string }, after?: string): Promise<JobEvent[]> {
  return await Array.fromAsync(watch(airlock, job, after));
}

/** What a worker wrote down, line by line. */
export function traceOf(airlock: Airlock, plugin = "worker"): string[] {
  try {
    return Deno.readTextFileSync(`${airlock.dataDir}/plugins/${plugin}/trace`).trimEnd().split("\n");
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

/** Waits until the worker wrote the line. */
export async function traced(airlock: Airlock, line: string, plugin?: string): Promise<void> {
  await until(`the worker's ${line}`, () => traceOf(airlock, plugin).includes(line), patienceMs);
}

/** What waits for `gate` goes on. */
export function open(airlock: Airlock, gate: string, plugin = "worker"): void {
  Deno.writeTextFileSync(`${airlock.dataDir}/plugins/${plugin}/${gate}`, "");
}

/** The most that ran at once, of those whose names begin so. */
export function mostAtOnce(trace: readonly string[], prefix: string): number {
  let [now, most] = [0, 0];
  for (const line of trace) {
    if (line.startsWith(`+${prefix}`)) most = Math.max(most, ++now);
    else if (line.startsWith(`-${prefix}`)) now--;
  }
  return most;
}

export async function makeToken(airlock: Airlock, role: string): Promise<string> {
  const { body } = await airlock.request<{ token: string }>("POST", "/v1/tokens", { name: role, role });
  return body.token;
}

/**
 * The ledger must tell of each job once that it was enqueued and once, and after each retry once more, how it ended;
 * of each lease no more than one call; and the offline verifier must accept it.
 */
export async function checkLedger(airlock: Airlock, jobs: readonly JobView[]): Promise<void> {
  const records = await airlock.records();
  const wrong: string[] = [];
  for (const { id, state, attempt } of jobs) {
    const own = records.filter(({ data }) => data["job"] === id);
    const count = (type: string) => own.filter((record) => record.type === type).length;
    const retries = own.filter(({ data }) => data["verb"] === "retry").length;
    const ends = own.filter(({ type }) => /^job\.(?:completed|failed|cancelled)$/.test(type));
    const calls = records.filter(({ type }) => type === "call.accepted")
      .flatMap(({ data }) => String(data["request"]).startsWith(`${id}-`) ? [data["request"]] : []);
    const isTold = count("job.enqueued") === 1 && ends.length === 1 + retries &&
      ends.at(-1)?.type === `job.${state}` && ends.at(-1)?.data["attempt"] === attempt;
    // An attempt that was given back had a lease, and perhaps an entry; its number goes to the next one.
    const leases = calls.map((request) => Number(String(request).slice(id.length + 1)));
    const isCalled = leases.every((lease, at) => lease > (leases[at - 1] ?? 0));
    if (!isTold || !isCalled) wrong.push(`${id} ${state} ${attempt}: ${JSON.stringify({ own, calls })}`);
  }
  deepEqual(wrong, []);
  const { body: key } = await airlock.request<string>("GET", "/v1/ledger/key");
  const command = [...serveCommand.slice(0, -1), "ledger", "verify", airlock.dataDir, "--key", key.trim()];
  const verified = await runToEnd(command);
  equal(verified.code, 0, verified.stdout + verified.stderr);
}

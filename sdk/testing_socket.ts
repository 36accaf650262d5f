/**
 * WebSockets without a network, and a clock that goes when the test says so. Only `*_test.ts` files import this.
 *
 * @module
 */
import { AirlockClient, type ClientClock, type ClientOptions, type WebSocketLike } from "./client.ts";
import { type ClientMessage, clientMessageSchema } from "../schemas/ws_protocol.ts";

type Listener = Parameters<WebSocketLike["addEventListener"]>[1];

export class TestingSocket implements WebSocketLike {
  protocol = "airlock.v1";
  readonly sent: ClientMessage[] = [];
  closedBy: number | undefined;
  readonly #listeners: { type: string; listener: Listener }[] = [];

  constructor(readonly url: string, readonly protocols: string[]) {}

  addEventListener(type: string, listener: Listener): void {
    this.#listeners.push({ type, listener });
  }

  /** What a client sends must fit the protocol. */
  send(text: string): void {
    this.sent.push(clientMessageSchema.parse(JSON.parse(text)));
  }

  close(code?: number): void {
    this.closedBy = code;
  }

  emit(type: string, event: { data?: unknown; code?: number } = {}): void {
    for (const entry of this.#listeners) if (entry.type === type) entry.listener(event);
  }

  receive(type: string, id: string | null | undefined, payload: unknown): void {
    this.emit("message", { data: JSON.stringify({ type, id, payload }) });
  }

  /** Opens it and answers INIT. */
  makeReady(payload: Record<string, unknown> = {}): void {
    this.emit("open");
    this.receive("READY", this.sent[0]?.id, { ...testingReady, ...payload });
  }

  /** The last message of a type; throws when there is none. */
  last<T extends ClientMessage["type"]>(type: T): Extract<ClientMessage, { type: T }> {
    const found = this.sent.findLast((message) => message.type === type);
    if (found === undefined) throw new Error(`No ${type} was sent`);
    return found as Extract<ClientMessage, { type: T }>;
  }
}

export class TestingClientClock implements ClientClock {
  #nowMs = 0;
  #timers: { dueMs: number; fire: () => void }[] = [];
  chance = 1;

  nowMs(): number {
    return this.#nowMs;
  }

  random(): number {
    return this.chance;
  }

  setTimer(fire: () => void, inMs: number): () => void {
    const timer = { dueMs: this.#nowMs + inMs, fire };
    this.#timers.push(timer);
    return () => this.#timers = this.#timers.filter((other) => other !== timer);
  }

  /** How long each timer that is set still runs, ascending. */
  get pendingMs(): number[] {
    return this.#timers.map(({ dueMs }) => dueMs - this.#nowMs).sort((a, b) => a - b);
  }

  /** Lets time pass; each timer fires when it is due, and what is pending goes on. */
  async pass(byMs: number): Promise<void> {
    const endMs = this.#nowMs + byMs;
    for (;;) {
      const [next] = this.#timers.filter(({ dueMs }) => dueMs <= endMs).sort((a, b) => a.dueMs - b.dueMs);
      if (next === undefined) break;
      this.#timers = this.#timers.filter((timer) => timer !== next);
      this.#nowMs = next.dueMs;
      next.fire();
      await settle();
    }
    this.#nowMs = endMs;
    await settle();
  }
}

/** Lets what is pending go on. */
export async function settle(): Promise<void> {
  for (let tick = 0; tick < 40; tick++) await null;
}

/** A client, its clock, and the sockets that it made so far. */
export function testingClient(options: Partial<ClientOptions> = {}) {
  const sockets: TestingSocket[] = [];
  const clock = new TestingClientClock();
  const client = new AirlockClient({
    url: "http://127.0.0.1:8787",
    token: "airlock_secret",
    fetch: null,
    clock,
    WebSocket: class extends TestingSocket {
      constructor(url: string, protocols: string[]) {
        super(url, protocols);
        sockets.push(this);
      }
    },
    ...options,
  });
  const socket = () => {
    const last = sockets.at(-1);
    if (last === undefined) throw new Error("No socket was made");
    return last;
  };
  return { client, clock, sockets, socket };
}

export const testingReady = {
  version: "1.0",
  airlock: "0.1.0",
  uptimeMs: 1,
  messageBytesMax: 1_048_576,
  requestsMax: 64,
  feed: null,
};

export const testingJobId = "01ARZ3NDEKTSV4RRFFQ69G5FAV";

/** A job as Airlock shows it. */
export function testingJob(state: "pending" | "running" | "completed" | "failed" | "cancelled", attempt = 1) {
  return {
    id: testingJobId,
    kind: "action",
    plugin: "ngram",
    action: "infer",
    state,
    waitingFor: null,
    attempt,
    interruptions: 0,
    progress: 0,
    note: null,
    output: null,
    error: state === "failed" ? { code: "ACTION_FAILED", message: "it broke" } : null,
    priority: 0,
    runAt: null,
    expiresAt: null,
    deadlineMs: null,
    dependsOn: [],
    parent: null,
    step: null,
    schedule: null,
    idempotencyKey: null,
    cancelRequested: false,
    inputSha256: "0".repeat(64),
    outputSha256: null,
    planSha256: null,
    createdAt: "2026-01-01T00:00:00.000Z",
    startedAt: null,
    endedAt: null,
  };
}

export const testingInvoked = {
  output: { n: 1 },
  durationMs: 1,
  inputSha256: "0".repeat(64),
  outputSha256: "1".repeat(64),
  ledger: { index: 1, size: 2 },
  checkpoint: "bm90ZQ==",
};

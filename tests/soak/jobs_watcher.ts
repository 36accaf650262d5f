/**
 * A reader of one job's events that comes back after each cut with the number of the last event that it had.
 *
 * @module
 */
import { equal, ok } from "node:assert/strict";
import type { Airlock } from "../support/airlock.ts";

export interface ToldEvent {
  readonly id: number;
  readonly type: string;
  /** Parsed. */
  readonly data: unknown;
}

/** Between two tries while nobody listens. */
const pauseMs = 20;
const timeoutMs = 600_000;

/** Parses server-sent events; what a cut left of one is dropped. */
async function* readEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<ToldEvent> {
  let pending = "";
  for await (const text of body.pipeThrough(new TextDecoderStream())) {
    const blocks = (pending + text).split("\n\n");
    pending = blocks.pop() ?? "";
    for (const block of blocks) {
      if (block.startsWith(":")) continue;
      const match = /^id: ([0-9]+)\nevent: ([A-Z_]+)\ndata: ([^\r\n]*)$/.exec(block);
      ok(match !== null, `not an event: ${JSON.stringify(block)}`);
      const [, id = "", type = "", data = ""] = match;
      yield { id: Number(id), type, data: JSON.parse(data) };
    }
  }
}

/** The events of a job that has ended. */
export async function eventsOf(airlock: Airlock, job: string): Promise<ToldEvent[]> {
  const response = await airlock.fetch("GET", `/v1/jobs/${job}/events`);
  equal(response.status, 200, `events of ${job}`);
  ok(response.body !== null);
  return await Array.fromAsync(readEvents(response.body));
}

export class JobWatcher {
  readonly events: ToldEvent[] = [];
  /** How often it came back and went on. */
  cuts = 0;
  isOver = false;
  /** Resolves when the job has ended; rejects with what went wrong. */
  readonly ended: Promise<void>;

  constructor(readonly job: string, private readonly airlock: () => Airlock) {
    this.ended = this.#follow().finally(() => this.isOver = true);
    // It is awaited at the end of the test.
    this.ended.catch(() => {});
  }

  async #follow(): Promise<void> {
    const startedMs = performance.now();
    for (;;) {
      try {
        if (await this.#read()) return;
      } catch (error) {
        // The connection was cut, or there is nobody to connect to.
        if (!(error instanceof TypeError)) throw error;
      }
      ok(performance.now() - startedMs < timeoutMs, `job ${this.job} does not end`);
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  }

  /** True: nothing comes any more. */
  async #read(): Promise<boolean> {
    const last = this.events.at(-1)?.id;
    const headers: Record<string, string> = last === undefined ? {} : { "last-event-id": String(last) };
    const response = await this.airlock().fetch("GET", `/v1/jobs/${this.job}/events`, undefined, headers);
    if (response.status === 204) return true;
    if (response.status !== 200) {
      const text = await response.text();
      equal(response.status, 503, text);
      return false;
    }
    ok(response.body !== null);
    if (last !== undefined) this.cuts++;
    for await (const event of readEvents(response.body)) this.events.push(event);
    return false;
  }
}

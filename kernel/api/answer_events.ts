/**
 * The answer to one who watches events: a stream of them, from a cursor.
 *
 * @module
 */
import { z } from "@hono/zod-openapi";
import { type Clock, systemClock } from "../../sandbox/clock.ts";
import type { EventCursor } from "../bus/event_cursor.ts";
import type { ApiContext, ApiKernel, Caller } from "./context.ts";
import { tokenStands } from "./authenticate.ts";
import { EventBody } from "./event_body.ts";
import type { EventReaders } from "./event_readers.ts";
import { eventStreamHeaders } from "./event_text.ts";
import { strictQuery } from "./strict_query.ts";

/** Made at a time, about, so that a slow reader is seen to take some. */
const chunkBytesMax = 16_384;

/** How a stream of events stands in the OpenAPI document; `data`: of each event. */
export function eventStream(description: string, data: z.ZodType) {
  return { description, content: { "text/event-stream": { schema: data } } };
}

/** Where to go on. An EventSource sends the header by itself; who cannot set one uses the parameter. */
export function resumeFrom<T extends z.ZodType>(id: T) {
  const headers = z.object({ "last-event-id": id.optional().describe("Id of the last event that came") });
  const query = strictQuery({
    after: id.optional().describe("The same as the header Last-Event-ID, which wins"),
  });
  return { headers, query };
}

export interface Watching<C extends EventCursor> {
  readonly readers: EventReaders;
  readonly caller: Caller;
  readonly clock?: Clock | undefined;
  /** Throws what refuses the reader. */
  watch(): C;
  /** What comes before the first event. */
  head?(cursor: C): string;
}

/**
 * Answers with the events of `watch()` until they end, the reader is gone or its token is revoked. Status 204,
 * which tells an EventSource to stay away, where none are to come. Throws QUEUE_FULL, NOT_READY.
 */
export function answerEvents<C extends EventCursor>(
  kernel: Pick<ApiKernel, "config" | "tokens">,
  c: Pick<ApiContext, "req" | "body">,
  { readers, caller, clock = systemClock, watch, head }: Watching<C>,
): Response {
  const cursor = watch();
  const hasEnded = cursor.isEnded;
  if (hasEnded || c.req.method === "HEAD") {
    cursor[Symbol.dispose]();
    return hasEnded ? c.body(null, 204) : c.body(null, 200, eventStreamHeaders);
  }
  const { readerBytesMax, readerTimeoutMs } = kernel.config.streams;
  let leave = () => {};
  const events = new EventBody(cursor, {
    bytesMax: Math.min(readerBytesMax, chunkBytesMax),
    takeTimeoutMs: readerTimeoutMs,
    clock,
    head: head?.(cursor) ?? "",
    mayRead: tokenStands(kernel, c.req.raw, caller),
    ended: () => leave(),
  });
  try {
    leave = readers.enter(caller.actor, () => events.close());
  } catch (error) {
    void events.body.cancel();
    throw error;
  }
  return c.body(events.body, 200, eventStreamHeaders);
}

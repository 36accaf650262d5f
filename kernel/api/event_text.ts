/**
 * The text of server-sent events.
 *
 * Format: https://html.spec.whatwg.org/multipage/server-sent-events.html
 *
 * Pure.
 *
 * @module
 */

/** What a reader skips; sent so that no proxy takes a quiet stream for a dead one. */
export const keepAliveText = ": keep-alive\n\n";

/** The last thing sent to a reader that is cut off, should it ever get there. */
export const tooSlowText = ": reader too slow\n\n";

/** Proxies commonly give up on a connection that was idle for 30 to 60 seconds. */
export const keepAliveMs = 15_000;

/** A proxy that collects an answer before it passes any of it on would hold events back. */
export const eventStreamHeaders = { "content-type": "text/event-stream", "x-accel-buffering": "no" } as const;

/** One event. Its data is one line, so that nothing in it can end this event and begin another. */
export function eventText(id: string | number, type: string, json: string): string {
  // A line break in JSON can only stand between its tokens, where a space says the same. Parsing and
  // serialising again would change numbers, and with them the bytes that `outputSha256` covers.
  return `id: ${id}\nevent: ${type}\ndata: ${json.replace(/[\r\n]/g, " ")}\n\n`;
}

/** No event, but the id after which a reader that comes back goes on. */
export function positionText(id: string): string {
  return `id: ${id}\n\n`;
}

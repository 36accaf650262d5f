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
  return `${eventHead(id, type)}${json.replace(/[\r\n]/g, " ")}${eventEnd}`;
}

/** What stands before the data of an event. */
export function eventHead(id: string | number, type: string): string {
  return `id: ${id}\nevent: ${type}\ndata: `;
}

/** What makes an event of what came before it; without it a reader forgets that. */
export const eventEnd = "\n\n";

const [lineFeed = 0, carriageReturn = 0, space = 0] = new TextEncoder().encode("\n\r ");

/** UTF-8 of a part of the data of an event, as {@linkcode eventText} has it: in UTF-8 these bytes are nothing else. */
export function withoutLineBreaks(bytes: Uint8Array): Uint8Array {
  if (!bytes.includes(lineFeed) && !bytes.includes(carriageReturn)) return bytes;
  return bytes.map((byte) => byte === lineFeed || byte === carriageReturn ? space : byte);
}

/** No event, but the id after which a reader that comes back goes on. */
export function positionText(id: string): string {
  return `id: ${id}\n\n`;
}

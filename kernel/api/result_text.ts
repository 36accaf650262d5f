/**
 * The text of a call's result, as JSON, made by hand: for an answer, an event, or a message of a WebSocket.
 *
 * The output is set in as the text that came. The router has checked that it is exactly one JSON value, so nothing in
 * it can end what it stands in; and its bytes stay the ones that `outputSha256` covers.
 *
 * Pure.
 *
 * @module
 */
import type { CallResult } from "../router/call.ts";

// Fatal, and nothing stripped: what it decodes is sent as the very bytes that `outputSha256` covers.
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The members of a result, without the braces: as `schemas/api.ts` has them. */
export function resultMembers(result: CallResult): string {
  return `"output":${utf8.decode(result.output)},${membersBeside(result)}`;
}

function membersBeside({ durationMs, inputSha256, outputSha256, ledger }: CallResult): string {
  return `"durationMs":${durationMs},"inputSha256":"${inputSha256}",` +
    `"outputSha256":"${outputSha256}","ledger":{"index":${ledger.index},"size":${ledger.size}}`;
}

const encoder = new TextEncoder();
/** Of a large result, sent at a time. */
const pieceBytes = 65_536;

/**
 * The text of a large result in pieces of UTF-8: its output is neither decoded nor copied as a whole, which would hold
 * up all others. `more`: members after the others.
 */
export function* largeResultPieces(result: CallResult, more = ""): Generator<Uint8Array, undefined> {
  yield encoder.encode(`{"output":`);
  for (let at = 0; at < result.output.length; at += pieceBytes) {
    yield result.output.subarray(at, at + pieceBytes);
  }
  yield encoder.encode(`,${membersBeside(result)}${more}}`);
}

/** A large result as a body. */
export function largeResultBody(result: CallResult): { body: ReadableStream<Uint8Array>; bytes: number } {
  const pieces = largeResultPieces(result);
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      const { value, done } = pieces.next();
      if (done) controller.close();
      else controller.enqueue(value);
    },
  });
  return { body, bytes: `{"output":,${membersBeside(result)}}`.length + result.output.length };
}

/** The member beside them where there is no header. `checkpoint`: base64. */
export function checkpointMember(checkpoint: string): string {
  return `"checkpoint":"${checkpoint}"`;
}

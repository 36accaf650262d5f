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
export function resultMembers(
  { output, durationMs, inputSha256, outputSha256, ledger }: CallResult,
): string {
  return `"output":${utf8.decode(output)},"durationMs":${durationMs},"inputSha256":"${inputSha256}",` +
    `"outputSha256":"${outputSha256}","ledger":{"index":${ledger.index},"size":${ledger.size}}`;
}

/** The member beside them where there is no header. `checkpoint`: base64. */
export function checkpointMember(checkpoint: string): string {
  return `"checkpoint":"${checkpoint}"`;
}

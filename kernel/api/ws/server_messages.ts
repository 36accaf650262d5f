/**
 * Server messages: the texts that a WebSocket client is sent, made by hand.
 *
 * A token, like an output (`result_text.ts`), is set in as the text that came. The router has checked that it is exactly
 * one JSON value, so nothing in it can end its message's payload.
 *
 * Pure.
 *
 * @module
 */
import type { Fault } from "../../../schemas/problem.ts";
import type { ServerMessageType, WsErrorCode } from "../../../schemas/ws_protocol.ts";
import type { Event } from "../../bus/event_cursor.ts";
import { jobText } from "../../jobs/job_view.ts";
import type { Recorded, ShownJob } from "../../jobs/jobs.ts";
import type { CallResult } from "../../router/call.ts";
import { checkpointMember, resultMembers } from "../result_text.ts";

/** `payload`: the text of exactly one JSON value. `id`: of the request; null for what comes unasked. */
export function messageText(type: ServerMessageType, id: string | null, payload: string): string {
  return `{"type":"${type}","id":${JSON.stringify(id)},"payload":${payload}}`;
}

/** Payload of the RESULT or COMPLETE of an INVOKE. */
export function invokedPayload(result: CallResult): string {
  return `{"kind":"invoked",${resultMembers(result)},${checkpointMember(result.checkpoint)}}`;
}

/** Payload of the RESULT that shows a job. */
export function jobPayload({ value, checkpoint }: Recorded<ShownJob>): string {
  return `{"kind":"job","job":${jobText(value)},${checkpointMember(checkpoint)}}`;
}

/** Payload of an EVENT. A job's events are named by a number, the feed's by a text. */
export function eventPayload({ id, type, json }: Event, owner: "job" | "feed"): string {
  const seq = owner === "job" ? id : JSON.stringify(id);
  return `{"event":${JSON.stringify(type)},"seq":${seq},"data":${json}}`;
}

export interface WsError {
  readonly code: WsErrorCode;
  readonly message: string;
  readonly errors?: Fault[] | undefined;
  readonly checkpoint?: string | undefined;
  readonly retryAfterMs?: number | undefined;
}

export function errorText(id: string | null, error: WsError): string {
  return messageText("ERROR", id, JSON.stringify(error));
}

/**
 * The errors of the client: what a caller may meet, each with a code.
 *
 * {@linkcode AirlockError} is Airlock's own answer; the others are the client's. What a signal aborts rejects with
 * the signal's reason. Nothing here holds a token.
 *
 * @module
 */
import type { Fault } from "../../schemas/problem.ts";
import type { ErrorPayload, JobView } from "./server_messages.ts";

/** The codes of Airlock's own errors; a newer Airlock may have others. */
export type AirlockErrorCode = ErrorPayload["code"];

/** Airlock answered by an error. */
export class AirlockError extends Error {
  override name = "AirlockError";
  readonly code: AirlockErrorCode;
  /** Where the request does not fit: paths are JSON Pointers. */
  readonly errors: readonly Fault[];
  readonly retryAfterMs: number | undefined;
  /** base64 of the signed checkpoint that covers the refusal, if it has an entry. */
  readonly checkpoint: string | undefined;

  constructor({ code, message, errors, retryAfterMs, checkpoint }: ErrorPayload) {
    super(message);
    this.code = code;
    this.errors = errors ?? [];
    this.retryAfterMs = retryAfterMs;
    this.checkpoint = checkpoint;
  }
}

/** What became of a request whose answer did not come: `unknown` means that it may have been carried out. */
export type Outcome = "unknown" | "not_sent";

/** The connection ended under a request that cannot be made again by itself. */
export class ConnectionLostError extends Error {
  override name = "ConnectionLostError";
  readonly code = "CONNECTION_LOST";
  constructor(message: string, readonly outcome: "unknown", cause?: unknown) {
    super(message, { cause });
  }
}

/** No answer within the request's time. The client goes on. */
export class RequestTimeoutError extends Error {
  override name = "RequestTimeoutError";
  readonly code = "TIMEOUT";
  constructor(message: string, readonly outcome: Outcome) {
    super(message);
  }
}

/** The server sent what does not fit the protocol. */
export class ProtocolError extends Error {
  override name = "ProtocolError";
  readonly code = "PROTOCOL";
  constructor(message: string, cause?: unknown) {
    super(message, { cause });
  }
}

/** The server will not have this client: a wrong token, another version. `cause` is its answer, where it gave one. */
export class ConnectionRefusedError extends Error {
  override name = "ConnectionRefusedError";
  readonly code = "REFUSED";
  constructor(message: string, readonly status?: number, cause?: unknown) {
    super(message, { cause });
  }
}

/** The client stopped trying; `cause` is the last failure. `connect()` begins anew. */
export class GaveUpError extends Error {
  override name = "GaveUpError";
  readonly code = "GAVE_UP";
  constructor(message: string, cause: unknown) {
    super(message, { cause });
  }
}

/** The client was closed. */
export class ClientClosedError extends Error {
  override name = "ClientClosedError";
  readonly code = "CLOSED";
}

/** A reader was so slow that its buffer is full, and what it reads cannot be sent again. */
export class BufferOverflowError extends Error {
  override name = "BufferOverflowError";
  readonly code = "OVERFLOW";
}

/** So many requests are under way in this client that it takes no other. */
export class TooManyRequestsError extends Error {
  override name = "TooManyRequestsError";
  readonly code = "TOO_MANY_REQUESTS";
}

/** The request is larger than what the server takes. Nothing was sent. */
export class MessageTooLargeError extends Error {
  override name = "MessageTooLargeError";
  readonly code = "TOO_LARGE";
}

/** The job whose tokens were read has failed or was cancelled. */
export class JobFailedError extends Error {
  override name = "JobFailedError";
  readonly code = "JOB_FAILED";
  constructor(readonly job: JobView) {
    super(`Cannot complete job "${job.id}": ${job.error?.message ?? job.state}`);
  }
}

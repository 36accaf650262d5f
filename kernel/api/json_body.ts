/**
 * Bodies: at most so many bytes, in at most so much time, and exactly one JSON value in UTF-8.
 *
 * Invariants:
 * - a declared length over the limit is refused before a byte is read, an undeclared one at the limit;
 * - memory held for a body is bound by what arrived, whatever the size of its pieces;
 * - a body with no content type, or another than JSON, is refused, never taken for an empty one.
 *
 * @module
 */
import type { MiddlewareHandler } from "hono";
import { isLargeJson, smallJsonBytesMax } from "../../sandbox/large_json.ts";
import { isJson } from "../../schemas/is_json.ts";
import { ProblemError } from "../../schemas/problem.ts";
import type { ApiEnv, ApiKernel } from "./context.ts";
import { withPlainHost } from "./request_path.ts";

type Bytes = Uint8Array<ArrayBuffer>;

export interface BodyLimits {
  readonly bodyBytesMax: number;
  readonly bodyTimeoutMs: number;
}

const firstCapacityBytes = 4_096;

// A byte order mark is not JSON and must not reach a plugin: it is kept, so that JSON.parse refuses it.
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * The body's bytes, not parsed yet; none if there is no body.
 *
 * Throws UNSUPPORTED_MEDIA_TYPE, BODY_TOO_LARGE, BODY_TIMEOUT, or CANCELLED if the connection was lost.
 */
export async function readBody(request: Request, limits: BodyLimits): Promise<Bytes> {
  const declared = request.headers.get("content-length");
  // Not `request.body === null`: asking for the stream costs more than all else here.
  if (declared === "0" || (declared === null && request.body === null)) return new Uint8Array();
  const contentType = request.headers.get("content-type");
  if (declared !== null || contentType !== null) checkContentType(contentType);
  if (Number(declared) > limits.bodyBytesMax) throw bodyTooLarge(limits);
  const bytes = declared === null && request.body !== null
    ? await readPieces(request.body, limits)
    : await readWhole(request.bytes(), limits);
  if (bytes.length > 0) checkContentType(contentType);
  return bytes;
}

/**
 * Throws MALFORMED_JSON unless `bytes` are UTF-8 text of exactly one JSON value, CANCELLED when `signal` aborts
 * before that is known. Costs the same for any value, and holds up nobody: a large one has its turns in the lane.
 */
export async function checkJsonBytes(
  bytes: Bytes,
  { lane }: Pick<ApiKernel, "lane">,
  signal: AbortSignal,
): Promise<void> {
  const isSmall = bytes.length <= smallJsonBytesMax;
  if (isSmall ? isJson(bytes) : await isLargeBody(bytes, lane, signal)) return;
  // The parser says where the fault is.
  if (isSmall) parseJsonBytes(bytes);
  throw new ProblemError(
    "MALFORMED_JSON",
    "Cannot parse the body as JSON: it is not one JSON value in UTF-8",
  );
}

async function isLargeBody(bytes: Bytes, lane: ApiKernel["lane"], signal: AbortSignal): Promise<boolean> {
  try {
    return await isLargeJson(bytes, lane, signal);
  } catch (error) {
    throw signal.aborted ? bodyLost(error) : error;
  }
}

/** Throws as {@linkcode checkJsonBytes} does. */
export function parseJsonBytes(bytes: Bytes): unknown {
  try {
    return JSON.parse(utf8.decode(bytes));
  } catch (cause) {
    const state = cause instanceof SyntaxError ? cause.message : "it is not UTF-8";
    throw new ProblemError("MALFORMED_JSON", `Cannot parse the body as JSON: ${state}`, { cause });
  }
}

/**
 * Applies the limits to a route's body, before the route's schema sees it.
 *
 * A route that takes no body passes `required: false`: what is sent all the same is checked and dropped.
 */
export function acceptJsonBody(
  { config, lane }: Pick<ApiKernel, "config" | "lane">,
  { required }: { required: boolean },
): MiddlewareHandler<ApiEnv> {
  return async (c, next) => {
    const { raw } = c.req;
    const bytes = await readBody(raw, config.http);
    if (required && bytes.length === 0) {
      throw new ProblemError("MALFORMED_JSON", "Cannot parse the body as JSON: it is empty");
    }
    if (bytes.length > 0) await checkJsonBytes(bytes, { lane }, raw.signal);
    const { method, headers } = raw;
    c.req.raw = new Request(withPlainHost(raw.url), { method, headers, body: bytes });
    await next();
  };
}

/** Only `application/json`, in UTF-8: what a form or `fetch` of another site sends unasked is refused. */
function checkContentType(contentType: string | null): void {
  if (contentType === "application/json") return;
  if (
    contentType !== null && /^application\/json[ \t]*(?:;[ \t]*charset="?utf-8"?[ \t]*)?$/i.test(contentType)
  ) {
    return;
  }
  const state = contentType === null ? "it has no content type" : `its content type is "${contentType}"`;
  throw new ProblemError(
    "UNSUPPORTED_MEDIA_TYPE",
    `Cannot read the body: ${state}, and "application/json" is needed`,
  );
}

/** Reads a body of undeclared length. */
async function readPieces(body: ReadableStream<Uint8Array>, limits: BodyLimits): Promise<Bytes> {
  const reader = body.getReader();
  // Cancelling ends a pending read; its failure would tell no one anything.
  const cancel = () => void reader.cancel().catch(() => undefined);
  let expired: ProblemError | undefined;
  const timer = setTimeout(() => {
    expired = bodyTimeout(limits);
    cancel();
  }, limits.bodyTimeoutMs);
  let bytes = new Uint8Array(firstCapacityBytes);
  let length = 0;
  try {
    while (true) {
      const { done, value } = await reader.read();
      if (expired !== undefined) throw expired;
      if (done) return bytes.slice(0, length);
      if (length + value.length > limits.bodyBytesMax) throw bodyTooLarge(limits);
      if (length + value.length > bytes.length) {
        // One buffer that doubles: a list of a million one-byte pieces would cost a hundred times as much.
        const grown = new Uint8Array(Math.max(bytes.length * 2, length + value.length));
        grown.set(bytes);
        bytes = grown;
      }
      bytes.set(value, length);
      length += value.length;
    }
  } catch (error) {
    throw error instanceof ProblemError ? error : bodyLost(error);
  } finally {
    clearTimeout(timer);
    cancel();
  }
}

/** A small body came along with its head: it is there after two microtasks, and then needs no timer. */
const promptTicks = 4;

/** Reads a body of declared length. */
async function readWhole(reading: Promise<Bytes>, limits: BodyLimits): Promise<Bytes> {
  let prompt: Bytes | undefined;
  const arrived = reading.then((bytes) => prompt = bytes, (cause) => {
    throw bodyLost(cause);
  });
  // A failure is told below, by the race.
  arrived.catch(() => undefined);
  for (let tick = 0; tick < promptTicks; tick += 1) {
    await undefined;
    if (prompt !== undefined) return prompt;
  }
  const { promise: expired, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(bodyTimeout(limits)), limits.bodyTimeoutMs);
  try {
    return await Promise.race([arrived, expired]);
  } finally {
    clearTimeout(timer);
  }
}

function bodyTooLarge({ bodyBytesMax }: BodyLimits): ProblemError {
  return new ProblemError("BODY_TOO_LARGE", `Cannot read the body: it has more than ${bodyBytesMax} bytes`);
}

function bodyTimeout({ bodyTimeoutMs }: BodyLimits): ProblemError {
  return new ProblemError(
    "BODY_TIMEOUT",
    `Cannot read the body: it did not arrive within ${bodyTimeoutMs} ms`,
  );
}

function bodyLost(cause: unknown): ProblemError {
  return new ProblemError("CANCELLED", "Cannot read the body: the connection was lost", { cause });
}

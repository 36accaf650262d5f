/**
 * HTTP requests: what the protocol of the WebSocket has no message for, asked of the same Airlock by `fetch`.
 *
 * Each is one try with a deadline. It needs no WebSocket, and says nothing about one.
 *
 * @module
 */
import { z } from "zod";
import type { ProblemCode } from "../../schemas/problem.ts";
import type { ClientClock } from "./clock.ts";
import { AirlockError, ConnectionLostError, ProtocolError, RequestTimeoutError } from "./errors.ts";
import { parse, parseJson } from "./read_message.ts";
import { faultsSchema, type JobView, open, receivedJobSchema } from "./server_messages.ts";

const problemSchema = z.object({
  code: open<ProblemCode>(),
  detail: z.string(),
  errors: faultsSchema,
});

export interface HttpRequestsOptions {
  /** Of the WebSocket; `/v1/ws` at its end is where the others stand. */
  readonly url: string;
  readonly token: string;
  readonly fetch: typeof fetch | null;
  readonly clock: ClientClock;
  /** Longest answer that is taken, in UTF-16 units. */
  readonly messageCharsMax: number;
}

export interface HttpRequest {
  readonly method: "GET" | "POST";
  /** From `/v1/` on. */
  readonly path: string;
  /** Of a POST; undefined: it has none. */
  readonly body?: unknown;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

export class HttpRequests {
  readonly #options: HttpRequestsOptions;
  readonly #closing = new AbortController();

  constructor(options: HttpRequestsOptions) {
    this.#options = options;
  }

  /** Ends those that are under way, and refuses others. */
  close(cause: Error): void {
    this.#closing.abort(cause);
  }

  /**
   * A request that is answered by a job. Rejects with {@linkcode AirlockError}, {@linkcode RequestTimeoutError},
   * {@linkcode ConnectionLostError}, {@linkcode ProtocolError}, the signal's reason, or TypeError where there is no
   * `fetch`.
   */
  async job({ method, path, body, timeoutMs, signal }: HttpRequest): Promise<JobView> {
    if (this.#options.fetch === null) throw new TypeError("Cannot ask by HTTP: the client has no `fetch`");
    const what = `${method} ${path}`;
    const text = body === undefined ? undefined : JSON.stringify(body);
    const signals = [this.#closing.signal, signal].filter((one) => one !== undefined);
    for (const one of signals) one.throwIfAborted();
    const ending = new AbortController();
    const abort = () => ending.abort(signals.find(({ aborted }) => aborted)?.reason);
    for (const one of signals) one.addEventListener("abort", abort);
    const cancelTimer = this.#options.clock.setTimer(() => {
      const message = `Cannot finish "${what}": no answer within ${timeoutMs} ms`;
      ending.abort(new RequestTimeoutError(message, "unknown"));
    }, timeoutMs);
    try {
      const answer = await this.#options.fetch(this.#address(path), this.#init(method, text, ending.signal));
      return jobOf(answer, await this.#text(answer, what), what);
    } catch (cause) {
      if (ending.signal.aborted) throw ending.signal.reason;
      if (cause instanceof AirlockError || cause instanceof ProtocolError) throw cause;
      const message = `Cannot finish "${what}": the connection failed; whether it was carried out is unknown`;
      throw new ConnectionLostError(message, "unknown", cause);
    } finally {
      cancelTimer();
      for (const one of signals) one.removeEventListener("abort", abort);
    }
  }

  #address(path: string): string {
    return this.#options.url.replace(/^ws/, "http").replace(/\/v1\/ws$/, "") + path;
  }

  #init(method: string, body: string | undefined, signal: AbortSignal): RequestInit {
    return {
      method,
      headers: {
        authorization: `Bearer ${this.#options.token}`,
        ...(body === undefined ? {} : { "content-type": "application/json" }),
      },
      ...(body === undefined ? {} : { body }),
      // The token goes nowhere else.
      redirect: "error",
      credentials: "omit",
      cache: "no-store",
      signal,
    };
  }

  async #text(answer: Response, what: string): Promise<string> {
    const { messageCharsMax } = this.#options;
    const decoder = new TextDecoder();
    let text = "";
    for await (const chunk of chunksOf(answer)) {
      text += decoder.decode(chunk, { stream: true });
      if (text.length > messageCharsMax) {
        throw new ProtocolError(`Cannot read "${what}": at most ${messageCharsMax} characters are taken`);
      }
    }
    return text + decoder.decode();
  }
}

/** Not by the stream's own iterator: not every browser has that. */
async function* chunksOf({ body }: Response): AsyncGenerator<Uint8Array, void, void> {
  const reader = body?.getReader();
  if (reader === undefined) return;
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) yield next.value;
  } finally {
    // Of one that was read to its end, nothing is left to cancel; of one that broke off, the failure is known.
    await reader.cancel().catch(() => {});
  }
}

/** Throws {@linkcode AirlockError} and {@linkcode ProtocolError}. */
function jobOf({ ok, headers }: Response, text: string, what: string): JobView {
  const value = parseJson(text, what);
  if (ok) return parse(receivedJobSchema, value, what);
  const { code, detail, errors } = parse(problemSchema, value, what);
  const pauseS = Number(headers.get("retry-after") ?? NaN);
  throw new AirlockError({
    code,
    message: detail,
    errors,
    retryAfterMs: Number.isFinite(pauseS) ? pauseS * 1_000 : undefined,
    checkpoint: headers.get("airlock-checkpoint") ?? undefined,
  });
}

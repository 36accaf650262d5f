/**
 * A kernel client reads what a running kernel shows over HTTP, one request at a time.
 *
 * What it gets is parsed. The token goes to the address it was given for and is not sent after a redirect.
 *
 * @module
 */
import type { z } from "zod";
import { problemSchema } from "../schemas/problem.ts";
import { UnreadableError } from "./unreadable_error.ts";

/** The kernel does not answer, or not now: it may a moment later. */
export class KernelAwayError extends UnreadableError {
  override name = "KernelAwayError";
}

export interface KernelAccess {
  /** Of the kernel. */
  readonly url: URL;
  readonly token: string;
  readonly fetch: (url: URL, init: RequestInit) => Promise<Response>;
}

const timeoutMs = 30_000;
/** The kernel ends a page at 8 MiB of lines, and JSON may need two characters for one of theirs. */
const bodyBytesMax = 33_554_432;

export class KernelClient {
  /** `what` is read stands in messages, such as "the ledger". */
  constructor(private readonly access: KernelAccess, private readonly what: string) {}

  /** Throws {@linkcode UnreadableError}. */
  async get<S extends z.ZodType>(
    path: string,
    query: URLSearchParams,
    schema: S,
    stopped: AbortSignal,
  ): Promise<z.output<S>> {
    const { url, token } = this.access;
    const target = new URL(url);
    target.pathname = `${url.pathname.replace(/\/$/, "")}${path}`;
    target.search = String(query);
    const signal = AbortSignal.any([stopped, AbortSignal.timeout(timeoutMs)]);
    let response: Response;
    let text: string;
    try {
      const headers = { authorization: `Bearer ${token}`, accept: "application/json" };
      response = await this.access.fetch(target, { headers, signal, redirect: "manual" });
      text = await readBody(response);
    } catch (cause) {
      if (cause instanceof UnreadableError) throw cause;
      const state = `no kernel answers there; start one (serve), or give its address as --url`;
      throw new KernelAwayError(`Cannot read ${this.what} of "${url}": ${state}`, { cause });
    }
    if (response.status !== 200) throw this.#refused(response.status, text);
    const parsed = schema.safeParse(parseJson(text));
    if (parsed.success) return parsed.data;
    throw this.unexpected("it is not what an Airlock answers");
  }

  unexpected(state: string): UnreadableError {
    return new UnreadableError(`Cannot use the answer of "${this.access.url}": ${state}`);
  }

  #refused(status: number, text: string): UnreadableError {
    const { url } = this.access;
    const problem = problemSchema.safeParse(parseJson(text)).data;
    const detail = problem?.detail;
    const subject = `Cannot read ${this.what} of "${url}":`;
    if (status === 401) {
      const state = "it does not know this token; give its own, DATA/admin.token, as --token-file";
      return new UnreadableError(`${subject} ${state}`);
    }
    if (status === 403) {
      return new UnreadableError(`${subject} the token may not; one with the role viewer may`);
    }
    if (status === 429 || status >= 500) {
      return new KernelAwayError(`${subject} ${detail ?? `it answers ${status}`}; try again`);
    }
    const state = detail ?? `it answers ${status}, as no Airlock does`;
    const isElsewhere = detail === undefined || status === 404 && problem?.code !== "PLUGIN_NOT_FOUND";
    return new UnreadableError(`${subject} ${state}${isElsewhere ? "; look at --url" : ""}`);
  }
}

async function readBody(response: Response): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length;
    if (bytes > bodyBytesMax) {
      throw new UnreadableError(`Cannot use an answer: it is larger than ${bodyBytesMax} bytes`);
    }
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // its schema refuses that
  }
}

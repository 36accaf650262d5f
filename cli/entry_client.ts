/**
 * An entry client reads a running kernel's ledger over HTTP, page by page.
 *
 * What it gets is parsed and held to what was asked for: entries in order, none twice, and none left out where
 * no filter could have. The token goes to the address it was given for and is not sent after a redirect.
 *
 * @module
 */
import { z } from "zod";
import { checkpointSchema, type LedgerEntry, ledgerEntrySchema, listSchema } from "../schemas/api.ts";
import { problemSchema } from "../schemas/problem.ts";
import { UnreadableError } from "./unreadable_error.ts";

/** The kernel does not answer, or not now: it may a moment later. */
export class KernelAwayError extends UnreadableError {
  override name = "KernelAwayError";
}

/** Names and values of the API's query, without `after` and `limit`. */
export type EntryFilter = readonly (readonly [name: string, value: string])[];

export interface Page {
  readonly items: readonly LedgerEntry[];
  /** Index of the last entry that was looked at, or undefined at the end of the log. */
  readonly next: number | undefined;
}

export interface EntryClientOptions {
  /** Of the kernel. */
  readonly url: URL;
  readonly token: string;
  readonly filter: EntryFilter;
  readonly fetch: (url: URL, init: RequestInit) => Promise<Response>;
}

const timeoutMs = 30_000;
/** The kernel ends a page at 8 MiB of lines, and JSON may need two characters for one of theirs. */
const bodyBytesMax = 33_554_432;
const pageSchema = listSchema(ledgerEntrySchema);

export class EntryClient {
  readonly #options: EntryClientOptions;

  constructor(options: EntryClientOptions) {
    this.#options = options;
  }

  /** How many entries are in the log. Throws {@linkcode UnreadableError}. */
  async size(signal: AbortSignal): Promise<number> {
    const query = new URLSearchParams({ format: "json" });
    return (await this.#get("/v1/ledger/checkpoint", query, checkpointSchema, signal)).size;
  }

  /** Entries with an index above `after`, at most `limit`. Throws {@linkcode UnreadableError}. */
  async page(after: number, limit: number, signal: AbortSignal): Promise<Page> {
    const { filter } = this.#options;
    const query = new URLSearchParams([...filter.map(([name, value]) => [name, value]), [
      "limit",
      `${limit}`,
    ]]);
    if (after >= 0) query.set("after", String(after));
    const { items, next: text } = await this.#get("/v1/ledger/entries", query, pageSchema, signal);
    const next = text === null ? undefined : Number(text);
    let last = after;
    for (const { index } of items) {
      if (index <= last || filter.length === 0 && index !== last + 1) {
        throw this.#unexpected(`entry ${index} follows ${last}`);
      }
      last = index;
    }
    if (items.length > limit) throw this.#unexpected(`${items.length} entries, ${limit} were asked for`);
    if (next !== undefined && !(Number.isSafeInteger(next) && next >= last && next > after)) {
      throw this.#unexpected(`the next page is after "${text}", this one ends with ${last}`);
    }
    return { items, next };
  }

  async #get<S extends z.ZodType>(
    path: string,
    query: URLSearchParams,
    schema: S,
    stopped: AbortSignal,
  ): Promise<z.output<S>> {
    const { url, token } = this.#options;
    const target = new URL(url);
    target.pathname = `${url.pathname.replace(/\/$/, "")}${path}`;
    target.search = String(query);
    const signal = AbortSignal.any([stopped, AbortSignal.timeout(timeoutMs)]);
    let response: Response;
    let text: string;
    try {
      const headers = { authorization: `Bearer ${token}`, accept: "application/json" };
      response = await this.#options.fetch(target, { headers, signal, redirect: "manual" });
      text = await readBody(response);
    } catch (cause) {
      if (cause instanceof UnreadableError) throw cause;
      const state = `no kernel answers there; start one (serve), or give its address as --url`;
      throw new KernelAwayError(`Cannot read the ledger of "${url}": ${state}`, { cause });
    }
    if (response.status !== 200) throw this.#refused(response.status, text);
    const parsed = schema.safeParse(parseJson(text));
    if (parsed.success) return parsed.data;
    throw this.#unexpected("it is not what an Airlock answers");
  }

  #refused(status: number, text: string): UnreadableError {
    const { url } = this.#options;
    const detail = problemSchema.safeParse(parseJson(text)).data?.detail;
    const subject = `Cannot read the ledger of "${url}":`;
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
    return new UnreadableError(
      `${subject} ${state}${detail === undefined || status === 404 ? "; look at --url" : ""}`,
    );
  }

  #unexpected(state: string): UnreadableError {
    return new UnreadableError(`Cannot use the answer of "${this.#options.url}": ${state}`);
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

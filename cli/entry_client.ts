/**
 * An entry client reads a running kernel's ledger over HTTP, page by page.
 *
 * What it gets is held to what was asked for: entries in order, none twice, and none left out where no filter
 * could have.
 *
 * @module
 */
import { checkpointSchema, type LedgerEntry, ledgerEntrySchema, listSchema } from "../schemas/api.ts";
import { type KernelAccess, KernelClient } from "./kernel_client.ts";

/** Names and values of the API's query, without `after` and `limit`. */
export type EntryFilter = readonly (readonly [name: string, value: string])[];

export interface Page {
  readonly items: readonly LedgerEntry[];
  /** Index of the last entry that was looked at, or undefined at the end of the log. */
  readonly next: number | undefined;
}

export interface EntryClientOptions extends KernelAccess {
  readonly filter: EntryFilter;
}

const pageSchema = listSchema(ledgerEntrySchema);

export class EntryClient {
  readonly #client: KernelClient;
  readonly #filter: EntryFilter;

  constructor({ filter, ...access }: EntryClientOptions) {
    this.#client = new KernelClient(access, "the ledger");
    this.#filter = filter;
  }

  /** How many entries are in the log. Throws UnreadableError. */
  async size(signal: AbortSignal): Promise<number> {
    const query = new URLSearchParams({ format: "json" });
    return (await this.#client.get("/v1/ledger/checkpoint", query, checkpointSchema, signal)).size;
  }

  /** Entries with an index above `after`, at most `limit`. Throws UnreadableError. */
  async page(after: number, limit: number, signal: AbortSignal): Promise<Page> {
    const filter = this.#filter;
    const query = new URLSearchParams([...filter.map(([name, value]) => [name, value]), [
      "limit",
      `${limit}`,
    ]]);
    if (after >= 0) query.set("after", String(after));
    const { items, next: text } = await this.#client.get("/v1/ledger/entries", query, pageSchema, signal);
    const next = text === null ? undefined : Number(text);
    let last = after;
    for (const { index } of items) {
      if (index <= last || filter.length === 0 && index !== last + 1) {
        throw this.#client.unexpected(`entry ${index} follows ${last}`);
      }
      last = index;
    }
    if (items.length > limit) {
      throw this.#client.unexpected(`${items.length} entries, ${limit} were asked for`);
    }
    if (next !== undefined && !(Number.isSafeInteger(next) && next >= last && next > after)) {
      throw this.#client.unexpected(`the next page is after "${text}", this one ends with ${last}`);
    }
    return { items, next };
  }
}

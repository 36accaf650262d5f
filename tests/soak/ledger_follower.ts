/**
 * A copy of the ledger that follows it: reads what is new, and holds every answer to what it was given.
 *
 * An entry that was lost, or changed after an answer named it, gives another root hash than the checkpoint that
 * came with that answer.
 *
 * @module
 */
import { deepEqual, equal, ok } from "node:assert/strict";
import type { Airlock, Answer } from "../support/airlock.ts";
import { rootOf } from "../support/ledger.ts";

interface Acknowledged {
  readonly request: string;
  readonly index: number;
  readonly size: number;
  readonly rootHash: string;
}

interface Entries {
  readonly items: { readonly index: number; readonly leafHash: string; readonly line: string }[];
  readonly next: string | null;
}

export class LedgerFollower {
  readonly #leaves: string[] = [];
  /** Type and request of each entry. */
  readonly #records: { type: string; request: string }[] = [];
  #acknowledged: Acknowledged[] = [];
  /** Answers that were held to the ledger so far. */
  checkedCount = 0;

  /** Takes note of an answer to a call. */
  acknowledge({ headers, body }: Answer): void {
    const [, size = "", rootHash = ""] = atob(headers.get("airlock-checkpoint") ?? "").split("\n");
    const { ledger } = body as { ledger: { index: number } };
    const request = headers.get("airlock-request-id") ?? "";
    this.#acknowledged.push({ request, index: ledger.index, size: Number(size), rootHash });
  }

  /** Reads what is new. Fails unless all that was acknowledged is in it, and its checkpoint is that of its entries. */
  async check(airlock: Airlock): Promise<void> {
    const { body: checkpoint } = await airlock.request<{ size: number; rootHash: string }>(
      "GET",
      "/v1/ledger/checkpoint?format=json",
    );
    for (let isMore = true; isMore;) {
      const after = this.#leaves.length === 0 ? "" : `&after=${this.#leaves.length - 1}`;
      const { body } = await airlock.request<Entries>("GET", `/v1/ledger/entries?limit=1000${after}`);
      for (const { index, leafHash, line } of body.items) {
        equal(index, this.#leaves.length);
        const { type, data } = JSON.parse(line);
        this.#leaves.push(leafHash);
        this.#records.push({ type, request: data.request ?? "" });
      }
      isMore = body.next !== null;
    }
    this.#checkRoot(checkpoint);
    for (const answer of this.#acknowledged) {
      ok(answer.index < answer.size, "the checkpoint of an answer covers its entry");
      deepEqual(this.#records[answer.index], { type: "call.completed", request: answer.request });
    }
    // What the last one covers, all before it do.
    const last = this.#acknowledged.toSorted((a, b) => a.size - b.size).at(-1);
    if (last !== undefined) this.#checkRoot(last);
    this.checkedCount += this.#acknowledged.length;
    this.#acknowledged = [];
  }

  #checkRoot({ size, rootHash }: { size: number; rootHash: string }): void {
    ok(this.#leaves.length >= size, `${size} entries were promised, and there are ${this.#leaves.length}`);
    equal(rootOf(this.#leaves.slice(0, size)), rootHash);
  }
}

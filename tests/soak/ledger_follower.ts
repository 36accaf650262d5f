/**
 * A copy of the ledger that follows it: reads what is new, and holds every answer to what it was given.
 *
 * An entry that was lost, or changed after an answer named it, gives another root hash than the checkpoint that
 * came with that answer. The first key that is seen is the one that must have signed all of them.
 *
 * @module
 */
import { equal, ok } from "node:assert/strict";
import type { Airlock, Answer } from "../support/airlock.ts";
import { GrowingTree, leafHashOf, openSigned, type SignedCheckpoint } from "../support/ledger.ts";

/** An answer's word: this is in the log, and this checkpoint covers it. */
interface Acknowledged {
  /** Type of the entry, and the request or the token that it is about. */
  readonly entry: string;
  /** Undefined where the answer does not say it. */
  readonly index?: number;
  readonly note: string;
}

interface Entries {
  readonly items: { readonly index: number; readonly leafHash: string; readonly line: string }[];
  readonly next: string | null;
}

export class LedgerFollower {
  readonly #tree = new GrowingTree();
  /** Index of each entry that an answer could be about. */
  readonly #indexes = new Map<string, number>();
  #acknowledged: Acknowledged[] = [];
  #key: string | undefined;
  /** Answers that were held to the ledger so far. */
  checkedCount = 0;
  /** Entries of each type. */
  readonly counts = new Map<string, number>();
  /** The signed checkpoint of most entries that an answer brought. */
  anchor: string | undefined;

  /** Takes note of an answer to a call. */
  acknowledge(answer: Answer): void {
    const { ledger } = answer.body as { ledger: { index: number } };
    const request = answer.headers.get("airlock-request-id") ?? "";
    this.#note(answer, { entry: `call.completed ${request}`, index: ledger.index });
  }

  /** Takes note of an answer to the making of a token, or to its end. */
  acknowledgeToken(type: "token.created" | "token.revoked", answer: Answer): void {
    this.#note(answer, { entry: `${type} ${(answer.body as { id: string }).id}` });
  }

  #note({ headers }: Answer, what: Omit<Acknowledged, "note">): void {
    const encoded = headers.get("airlock-checkpoint");
    ok(encoded, `no checkpoint with ${what.entry}`);
    const note = new TextDecoder().decode(Uint8Array.fromBase64(encoded));
    this.#acknowledged.push({ ...what, note });
    if (this.anchor === undefined || sizeOf(note) > sizeOf(this.anchor)) this.anchor = note;
  }

  /** Reads what is new. Fails unless all that was acknowledged is in it, and its checkpoint is that of its entries. */
  async check(airlock: Airlock): Promise<SignedCheckpoint> {
    const { body: key } = await airlock.request<string>("GET", "/v1/ledger/key");
    equal(key, this.#key ??= key);
    const { body: checkpoint } = await airlock.request<string>("GET", "/v1/ledger/checkpoint");
    for (let isMore = true; isMore;) {
      const after = this.#tree.size === 0 ? "" : `&after=${this.#tree.size - 1}`;
      const { body } = await airlock.request<Entries>("GET", `/v1/ledger/entries?limit=1000${after}`);
      for (const item of body.items) this.#append(item);
      isMore = body.next !== null;
    }
    for (const { entry, index, note } of this.#acknowledged) {
      const found = this.#indexes.get(entry);
      ok(found !== undefined, `${entry} was acknowledged, and is not in the log`);
      if (index !== undefined) equal(found, index);
      ok(found < this.#open(note).size, `the checkpoint of an answer covers its entry: ${entry}`);
    }
    this.checkedCount += this.#acknowledged.length;
    this.#acknowledged = [];
    return this.#open(checkpoint);
  }

  #append({ index, leafHash, line }: Entries["items"][number]): void {
    equal(index, this.#tree.size);
    equal(leafHash, leafHashOf(line));
    const { type, data } = JSON.parse(line);
    this.#tree.append(leafHash);
    this.counts.set(type, (this.counts.get(type) ?? 0) + 1);
    if (!/^(?:call\.completed|token\.(?:created|revoked))$/.test(type)) return;
    const entry = `${type} ${data.request ?? data.token}`;
    if (!this.#indexes.has(entry)) this.#indexes.set(entry, index);
    // A revocation that a kill cut short is settled, and written, at the next start.
    else equal(type, "token.revoked", `${entry} is in the log twice`);
  }

  /** What a signed note says, once the entries are found to be those that it is about. */
  #open(note: string): SignedCheckpoint {
    const checkpoint = openSigned(note, this.#key ?? "");
    const { size, rootHash } = checkpoint;
    ok(this.#tree.size >= size, `${size} entries were promised, and there are ${this.#tree.size}`);
    equal(this.#tree.rootAt(size), rootHash);
    return checkpoint;
  }

  /** The key that signs all of it. */
  get key(): string {
    ok(this.#key !== undefined, "known from the first check on");
    return this.#key;
  }
}

function sizeOf(note: string): number {
  return Number(note.split("\n")[1]);
}

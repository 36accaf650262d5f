/**
 * The shredder holds what opens the commitments of an entry: it shows it, which discloses what the ledger
 * hides, and so is an act that the ledger is told of first; and it deletes it. Then the ledger still verifies,
 * and what the entry commits to can no longer be told, nor guessed and matched.
 *
 * That something was deleted is in the ledger before it is: a crash between the two leaves openings that the
 * ledger says are gone, nobody was told so, and whoever asks again has them deleted, with a record of its own.
 * The other order could lose openings without a trace.
 *
 * Openings of an entry are saved before it is durable, so those of an index below the durable size are there or
 * will never be: nothing arrives behind a deletion.
 *
 * @module
 */
import type { CommitmentsView } from "../../schemas/api.ts";
import { ProblemError } from "../../schemas/problem.ts";
import type { CommitmentRow } from "./event.ts";
import type { Ledger } from "./ledger.ts";

export interface OpeningsTable {
  /** Of one entry, by field. */
  get(index: number): CommitmentRow[];
  /** Beyond recovery when it returns. Returns how many. */
  delete(index: number): number;
}

export interface Shredder {
  /**
   * What opens the commitments of an entry; no items, and nothing recorded, when it was deleted, or never was.
   * `checkpoint` and rejections as of {@linkcode Shredder.delete}.
   */
  open(index: number, actor: string): Promise<{ view: CommitmentsView; checkpoint: string }>;
  /**
   * Deletes it. `checkpoint`: base64 of the note that covers the record of it; the newest one where there was
   * nothing to delete. Rejects with ProblemError: ENTRY_NOT_FOUND, and those of an append.
   */
  delete(index: number, actor: string): Promise<{ deleted: number; checkpoint: string }>;
}

export interface ShredderDeps {
  readonly ledger: Pick<Ledger, "append" | "size" | "checkpointBase64">;
  readonly table: OpeningsTable;
}

export function createShredder({ ledger, table }: ShredderDeps): Shredder {
  /**
   * One deletion of an entry at a time, lest it be recorded twice. The ledger's queue bounds how many there
   * are.
   */
  const underWay = new Map<number, Promise<unknown>>();

  function checkExists(index: number): void {
    if (Number.isSafeInteger(index) && index >= 0 && index < ledger.size) return;
    const state = `the ledger has entries 0 to ${ledger.size - 1}`;
    throw new ProblemError("ENTRY_NOT_FOUND", `Cannot find the commitments of entry ${index}: ${state}`);
  }

  async function shred(index: number, fields: string[], actor: string) {
    const { checkpoint } = await ledger.append({
      type: "commitment.deleted",
      actor,
      plugin: "",
      data: { entry: index, fields },
    });
    return { deleted: table.delete(index), checkpoint };
  }

  return {
    async open(index, actor) {
      checkExists(index);
      if (table.get(index).length === 0) {
        return { view: { index, items: [] }, checkpoint: ledger.checkpointBase64() };
      }
      const { checkpoint } = await ledger.append({
        type: "commitment.opened",
        actor,
        plugin: "",
        data: { entry: index },
      });
      // Read only now: what was deleted meanwhile is shown to nobody any more.
      const items = table.get(index).map(({ field, salt, value }) => ({
        field,
        salt: salt.toBase64(),
        value: value?.toBase64() ?? null,
      }));
      return { view: { index, items }, checkpoint };
    },

    async delete(index, actor) {
      checkExists(index);
      for (let other = underWay.get(index); other !== undefined; other = underWay.get(index)) {
        await other.catch(() => undefined);
      }
      const fields = table.get(index).map(({ field }) => field);
      // Its rows may have gone before, and their bytes not.
      if (fields.length === 0) return { deleted: table.delete(index), checkpoint: ledger.checkpointBase64() };
      const shredding = shred(index, fields, actor);
      underWay.set(index, shredding);
      try {
        return await shredding;
      } finally {
        underWay.delete(index);
      }
    },
  };
}

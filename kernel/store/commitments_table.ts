/**
 * A commitment's opening is the salt, and where it is small enough the value, behind one
 * `…Commitment` field of a ledger entry. Deleting it leaves the ledger verifiable and the value unknowable.
 *
 * Openings are written twice for each HTTP call, in batches of up to 512, so they live in a file of their
 * own, `DATA/commitments.db`, without an fsync on commit (WAL, synchronous=NORMAL; SQLite syncs once for
 * about 4 MB of WAL, when it checkpoints).
 *
 * What a crash leaves:
 * - the process killed: nothing lost, a commit has reached the operating system. Only a batch that the
 *   ledger had synced and not yet acknowledged may lack its openings;
 * - power cut: a whole prefix of the batches. The last ledger entries then have no opening, just as if it
 *   had been deleted; chain, tree and proofs hold. synchronous=OFF would save a third of the time, but a
 *   power cut could tear the file, and with it every older opening: NORMAL.
 * - the process killed, or the disk full, between the deletion of a row and the WAL's end: the row is gone, its
 *   bytes stand in the WAL. They go when the file is opened next, or its entry is deleted once more;
 * - the ledger restored from an older copy, or cut by its recovery: openings at indexes that it will use
 *   again. So the ledger calls `deleteFrom(size)` as it opens, before its first append.
 *
 * Invariants: `rows` is exact, it commits with the rows it counts. An entry is trimmed whole, oldest first. While
 * the WAL cannot be emptied nothing is said to be shredded, not even what has no row any more.
 *
 * @module
 */
import type { DatabaseSync, SQLInputValue } from "node:sqlite";
import { z } from "zod";
import { createTransact, openDatabase, StoreError } from "./database.ts";
import { commitmentsMigrations } from "./migrations.ts";

export interface Opening {
  /** Index of the ledger entry. */
  readonly index: number;
  /** Its name in the entry's data, such as `inputCommitment`. */
  readonly field: string;
  /** 16 bytes. */
  readonly salt: Uint8Array;
  /** null: larger than what is kept. */
  readonly value: Uint8Array | null;
}

export interface Commitments extends Disposable {
  /**
   * In one transaction. Survives the process when it returns. Throws, and writes nothing, where an entry
   * has this field already.
   */
  save(openings: readonly Opening[]): void;
  /** Of one entry, by field. */
  get(index: number): Opening[];
  /**
   * Shreds the openings of one entry: overwritten in the file, gone from the WAL, also those whose rows went
   * before. Returns how many rows there were. Throws {@linkcode StoreError} while the WAL cannot be emptied.
   */
  delete(index: number): number;
  /** Deletes those of entries at or after `index`: the ledger's size, at start. Returns how many. */
  deleteFrom(index: number): number;
  readonly rows: number;
}

const rowSchema = z.object({
  entry: z.int(),
  field: z.string(),
  salt: z.instanceof(Uint8Array),
  value: z.instanceof(Uint8Array).nullable(),
});

const checkpointSchema = z.object({ busy: z.int() });

// One call into SQLite for 16 rows halves the time of a large batch.
const rowsPerStatement = 16;

// Trimmed at once: enough that a lone insert seldom pays for it, few enough that a lowered limit, which is
// worked off insert by insert, does not stall the kernel.
const trimRows = 64;

/** Throws {@linkcode StoreError} where the file cannot be used. Keeps `rowsMax` openings, or up to 64 fewer. */
export function openCommitments({ file, rowsMax }: { file: string; rowsMax: number }): Commitments {
  const db = openDatabase({
    file,
    migrations: commitmentsMigrations,
    durability: "normal",
    check: false,
    exclusive: true,
  });
  try {
    // What a life before this one deleted, and did not live to shred.
    emptyWal(db, file);
    return createTable(db, { file, rowsMax });
  } catch (error) {
    db.close();
    throw error;
  }
}

function createTable(db: DatabaseSync, { file, rowsMax }: { file: string; rowsMax: number }): Commitments {
  const transact = createTransact(db);
  const insertRows = createInsertRows(db);
  const select = db.prepare("SELECT * FROM commitments WHERE entry = ? ORDER BY field");
  const selectNth = db.prepare(
    "SELECT entry FROM commitments ORDER BY entry, field LIMIT 1 OFFSET ?",
  );
  const deleteOne = db.prepare("DELETE FROM commitments WHERE entry = ?");
  const deleteUpTo = db.prepare("DELETE FROM commitments WHERE entry <= ?");
  const deleteAtOrAfter = db.prepare("DELETE FROM commitments WHERE entry >= ?");
  const saveCount = db.prepare("UPDATE commitments_count SET rows = ? WHERE id = 1");
  let rows = z.object({ rows: z.int() })
    .parse(db.prepare("SELECT rows FROM commitments_count").get()).rows;

  /** Deletes the oldest entries so that at least `count` rows go. */
  function trim(count: number): number {
    const { entry } = z.object({ entry: z.int() }).parse(selectNth.get(count - 1));
    return Number(deleteUpTo.run(entry).changes);
  }

  /** Runs `work`, which returns by how many rows the table grew, and commits the new count with it. */
  function change(work: () => number): number {
    let grown = 0;
    transact(() => {
      grown = work();
      if (grown !== 0) saveCount.run(rows + grown);
    });
    rows += grown;
    return grown;
  }

  return {
    save(openings) {
      if (openings.length === 0) return;
      change(() => {
        insertRows(openings);
        const excess = rows + openings.length - rowsMax;
        if (excess <= 0) return openings.length;
        const spare = Math.min(trimRows, rowsMax >> 4);
        return openings.length - trim(Math.min(excess + spare, 2 * openings.length + trimRows));
      });
    },
    get: (index) =>
      select.all(index).map((raw) => {
        const { entry, ...opening } = rowSchema.parse(raw);
        return { index: entry, ...opening };
      }),
    delete(index) {
      const deleted = -change(() => -Number(deleteOne.run(index).changes));
      // secure_delete has zeroed the row, but the WAL still holds the page as it was written.
      emptyWal(db, file);
      return deleted;
    },
    deleteFrom: (index) => -change(() => -Number(deleteAtOrAfter.run(index).changes)),
    get rows() {
      return rows;
    },
    [Symbol.dispose]: () => db.close(),
  };
}

/** Moves what is in the WAL to the file, and cuts the WAL to nothing. Throws {@linkcode StoreError} where it is not. */
function emptyWal(db: DatabaseSync, file: string): void {
  const action = `Cannot empty "${file}-wal"`;
  const remedy = "what was deleted may still be read there; free disk space and delete it again";
  let busy: number;
  try {
    // Whoever holds the WAL is told of in a row, and is no error.
    ({ busy } = checkpointSchema.parse(db.prepare("PRAGMA wal_checkpoint(TRUNCATE)").get()));
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new StoreError("unusable", `${action}: ${reason}; ${remedy}`, { cause });
  }
  if (busy !== 0) throw new StoreError("busy", `${action}: it is being read; ${remedy}`);
}

function createInsertRows(db: DatabaseSync): (openings: readonly Opening[]) => void {
  const prepareInsert = (rows: number) =>
    db.prepare(
      `INSERT INTO commitments (entry, field, salt, value) VALUES ${Array(rows).fill("(?, ?, ?, ?)").join()}`,
    );
  const insertMany = prepareInsert(rowsPerStatement);
  const insertOne = prepareInsert(1);

  return (openings) => {
    let done = 0;
    for (; done + rowsPerStatement <= openings.length; done += rowsPerStatement) {
      const values: SQLInputValue[] = [];
      for (const { index, field, salt, value } of openings.slice(done, done + rowsPerStatement)) {
        values.push(index, field, salt, value);
      }
      insertMany.run(...values);
    }
    for (const { index, field, salt, value } of openings.slice(done)) {
      insertOne.run(index, field, salt, value);
    }
  };
}

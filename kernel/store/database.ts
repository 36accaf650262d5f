/**
 * A database is one SQLite file, opened with every safeguard on and migrated to this program's shape.
 *
 * Invariants:
 * - a file that is damaged, in use by another program or newer than this program is refused, never
 *   "repaired" and never replaced;
 * - a step of migration is whole or absent: it commits together with its version number;
 * - the file is readable by its owner only (SQLite gives its `-wal` and `-shm` the same mode).
 *
 * @module
 */
import { DatabaseSync } from "node:sqlite";

/** Why a database cannot be used. The kernel does not start on one. */
export class StoreError extends Error {
  override name = "StoreError";

  constructor(
    readonly code: "damaged" | "newer" | "busy" | "unusable",
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

export interface DatabaseOptions {
  readonly file: string;
  readonly migrations: readonly string[];
  /** `full`: a commit is on disk when it returns. `normal`: it survives this process, not a power cut. */
  readonly durability: "full" | "normal";
  /** Read the whole file once for damage: for small files. */
  readonly check: boolean;
  /** No other process may open the file; saves two lock calls a transaction and the `-shm` file. */
  readonly exclusive: boolean;
}

// The event loop stands still meanwhile; no one else has business in these files.
const busyTimeoutMs = 1_000;
const walBytesKept = 8_388_608;

/** Throws {@linkcode StoreError}. The caller closes what it gets. */
export function openDatabase(options: DatabaseOptions): DatabaseSync {
  const { file, migrations } = options;
  let db: DatabaseSync | undefined;
  try {
    // SQLite would create the file with the umask's mode.
    Deno.openSync(file, { create: true, append: true, mode: 0o600 }).close();
    // SQLite's defensive flag is on unless it is turned off; the types do not name it.
    db = new DatabaseSync(file, {
      allowExtension: false,
      enableDoubleQuotedStringLiterals: false,
      enableForeignKeyConstraints: true,
      timeout: busyTimeoutMs,
    });
    configure(db, options);
    if (options.check) checkUndamaged(db, file);
    migrate(db, file, migrations);
    return db;
  } catch (error) {
    db?.close();
    throw toStoreError(file, error);
  }
}

function configure(db: DatabaseSync, { durability, exclusive }: DatabaseOptions): void {
  const pragmas = [
    // Before the first read: with it SQLite keeps the WAL's index on the heap from the start.
    `locking_mode = ${exclusive ? "EXCLUSIVE" : "NORMAL"}`,
    "journal_mode = WAL",
    `synchronous = ${durability === "full" ? "FULL" : "NORMAL"}`,
    "trusted_schema = OFF",
    "cell_size_check = ON",
    "secure_delete = ON",
    `journal_size_limit = ${walBytesKept}`,
  ];
  // Prepared, because the errors of exec() carry no result code.
  for (const pragma of pragmas) db.prepare(`PRAGMA ${pragma}`).all();
}

function checkUndamaged(db: DatabaseSync, file: string): void {
  const verdict = Object.values(db.prepare("PRAGMA quick_check(1)").get() ?? {})[0];
  if (verdict !== "ok") {
    throw new StoreError("damaged", `Cannot open "${file}": it is damaged (${String(verdict)})`);
  }
}

function migrate(db: DatabaseSync, file: string, migrations: readonly string[]): void {
  const version = Number(Object.values(db.prepare("PRAGMA user_version").get() ?? {})[0]);
  if (version > migrations.length) {
    throw new StoreError(
      "newer",
      `Cannot open "${file}": it has version ${version}, and this program knows up to ` +
        `${migrations.length}; start a newer Airlock, or restore an older copy`,
    );
  }
  const transact = createTransact(db);
  for (const [step, sql] of migrations.entries()) {
    if (step < version) continue;
    transact(() => db.exec(`${sql}; PRAGMA user_version = ${step + 1}`));
  }
}

/** Runs synchronous work in one transaction: committed when it returns, undone when it throws. */
export type Transact = <T>(work: () => T) => T;

export function createTransact(db: DatabaseSync): Transact {
  const begin = db.prepare("BEGIN IMMEDIATE");
  const commit = db.prepare("COMMIT");
  const rollback = db.prepare("ROLLBACK");
  return (work) => {
    begin.run();
    try {
      const result = work();
      commit.run();
      return result;
    } catch (error) {
      // A full disk or an I/O error may have ended the transaction already.
      if (db.isTransaction) rollback.run();
      throw error;
    }
  };
}

// Primary result codes, https://sqlite.org/rescode.html.
const sqliteBusy = 5;
const sqliteCorrupt = 11;
const sqliteNotADatabase = 26;

function toStoreError(file: string, error: unknown): StoreError {
  if (error instanceof StoreError) return error;
  const code = error instanceof Error && "errcode" in error ? Number(error.errcode) & 0xff : undefined;
  const reason = error instanceof Error ? error.message : String(error);
  const options = { cause: error };
  if (code === sqliteCorrupt || code === sqliteNotADatabase) {
    return new StoreError("damaged", `Cannot open "${file}": it is damaged (${reason})`, options);
  }
  if (code === sqliteBusy) {
    return new StoreError("busy", `Cannot open "${file}": another process holds it`, options);
  }
  return new StoreError("unusable", `Cannot open "${file}": ${reason}`, options);
}

/**
 * The folders table holds what was last found in each plugin's folder, so that the ledger is told once.
 *
 * @module
 */
import type { DatabaseSync } from "node:sqlite";
import { z } from "zod";
import { createTransact } from "./database.ts";

const rowSchema = z.object({ folder: z.string(), fingerprint: z.string() });

export interface FoldersTable {
  /** Durable when it returns. */
  set(folder: string, fingerprint: string): void;
  /** The fingerprint of what was found last. */
  get(folder: string): string | undefined;
  /** Forgets all folders but these: one that is gone and comes back is found again. */
  keepOnly(folders: ReadonlySet<string>): void;
}

export function createFoldersTable(db: DatabaseSync): FoldersTable {
  const transact = createTransact(db);
  const upsert = db.prepare("INSERT OR REPLACE INTO folders_found (folder, fingerprint) VALUES (?, ?)");
  const select = db.prepare("SELECT * FROM folders_found WHERE folder = ?");
  const selectAll = db.prepare("SELECT * FROM folders_found");
  const remove = db.prepare("DELETE FROM folders_found WHERE folder = ?");
  return {
    set(folder, fingerprint) {
      upsert.run(folder, fingerprint);
    },
    get(folder) {
      const raw = select.get(folder);
      return raw && rowSchema.parse(raw).fingerprint;
    },
    keepOnly(folders) {
      const gone = selectAll.all().map((raw) => rowSchema.parse(raw).folder).filter((folder) =>
        !folders.has(folder)
      );
      if (gone.length > 0) transact(() => gone.forEach((folder) => remove.run(folder)));
    },
  };
}

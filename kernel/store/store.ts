/**
 * The store is the kernel's mutable state on disk, `DATA/airlock.db`: tokens, what the operator chose for
 * each plugin, grants, who is in quarantine, and what the ledger was told of grants, folders and configuration.
 *
 * A write is on disk when its method returns (WAL, synchronous=FULL), so it may be acknowledged at once.
 * Openings of the ledger's commitments live in a file of their own, see `commitments_table.ts`.
 *
 * @module
 */
import { type ConfigTable, createConfigTable } from "./config_table.ts";
import { openDatabase } from "./database.ts";
import { createFoldersTable, type FoldersTable } from "./folders_table.ts";
import { createGrantsTable, type GrantsTable } from "./grants_table.ts";
import { createGrantsToldTable, type GrantsToldTable } from "./grants_told_table.ts";
import { storeMigrations } from "./migrations.ts";
import { createPluginsTable, type PluginsTable } from "./plugins_table.ts";
import { createQuarantinesTable, type QuarantinesTable } from "./quarantines_table.ts";
import { createTokensTable, type TokensTable } from "./tokens_table.ts";

export interface Store extends Disposable {
  readonly tokens: TokensTable;
  readonly plugins: PluginsTable;
  readonly grants: GrantsTable;
  readonly quarantines: QuarantinesTable;
  readonly grantsTold: GrantsToldTable;
  readonly folders: FoldersTable;
  readonly config: ConfigTable;
}

/** Throws {@linkcode StoreError} where the file cannot be used. */
export function openStore({ file }: { file: string }): Store {
  const db = openDatabase({
    file,
    migrations: storeMigrations,
    durability: "full",
    check: true,
    exclusive: false,
  });
  return {
    tokens: createTokensTable(db),
    plugins: createPluginsTable(db),
    grants: createGrantsTable(db),
    quarantines: createQuarantinesTable(db),
    grantsTold: createGrantsToldTable(db),
    folders: createFoldersTable(db),
    config: createConfigTable(db),
    [Symbol.dispose]: () => db.close(),
  };
}

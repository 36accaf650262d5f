/**
 * The store is the kernel's mutable state on disk, `DATA/airlock.db`: tokens, what the operator chose for
 * each plugin, grants, who is in quarantine, what the ledger was told of grants, folders and configuration, and
 * what plugins touched.
 *
 * A write is on disk when its method returns (WAL, synchronous=FULL), so it may be acknowledged at once; one made
 * together with others, when that resolves.
 * Openings of the ledger's commitments live in a file of their own, see `commitments_table.ts`.
 *
 * @module
 */
import { type AuditTable, createAuditTable } from "./audit_table.ts";
import { type ConfigTable, createConfigTable } from "./config_table.ts";
import { createTransact, openDatabase } from "./database.ts";
import { createFoldersTable, type FoldersTable } from "./folders_table.ts";
import { createGrantsTable, type GrantsTable } from "./grants_table.ts";
import { createGrantsToldTable, type GrantsToldTable } from "./grants_told_table.ts";
import { storeMigrations } from "./migrations.ts";
import { createPluginsTable, type PluginsTable } from "./plugins_table.ts";
import { createQuarantinesTable, type QuarantinesTable } from "./quarantines_table.ts";
import { createSharedTransaction, type SharedTransaction } from "./shared_transaction.ts";
import { createTokensTable, type TokensTable } from "./tokens_table.ts";

export interface Store extends SharedTransaction, Disposable {
  readonly tokens: TokensTable;
  readonly plugins: PluginsTable;
  readonly grants: GrantsTable;
  readonly quarantines: QuarantinesTable;
  readonly grantsTold: GrantsToldTable;
  readonly folders: FoldersTable;
  readonly config: ConfigTable;
  readonly audit: AuditTable;
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
    ...createSharedTransaction(createTransact(db)),
    audit: createAuditTable(db),
    [Symbol.dispose]: () => db.close(),
  };
}

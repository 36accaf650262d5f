/**
 * The tokens table holds the hash of each token's secret, its role and how far its life has come.
 *
 *     pending → active → revoking → revoked
 *     pending → revoking                      (settled after a crash)
 *
 * `pending` and `revoking` are the moments between a row and its ledger entry; `kernel/trust/tokens.ts`
 * says what a crash in either leaves. Only `active` authenticates. Each change of state names the state
 * it expects in its WHERE, so an illegal one throws and changes nothing.
 *
 * @module
 */
import type { DatabaseSync } from "node:sqlite";
import { z } from "zod";
import { type Role, roleSchema } from "../../schemas/api.ts";

export const tokenStates = ["pending", "active", "revoking", "revoked"] as const;
export type TokenState = (typeof tokenStates)[number];

export interface TokenRow {
  readonly id: string;
  readonly name: string;
  readonly role: Role;
  readonly state: TokenState;
  /** Its secret was written to `DATA/admin.token`. */
  readonly bootstrap: boolean;
  readonly secretSha256: Uint8Array;
  readonly createdAtMs: number;
  readonly revokedAtMs: number | null;
}

/** All writes are durable when they return. */
export interface TokensTable {
  /** As `pending`. */
  insert(token: Omit<TokenRow, "state" | "revokedAtMs">): void;
  /** pending → active; RangeError otherwise. */
  activate(id: string): void;
  /** pending or active → revoking; RangeError otherwise. */
  beginRevoke(id: string, revokedAtMs: number): void;
  /** revoking → revoked; false where it was not revoking, as when another caller was quicker. */
  endRevoke(id: string): boolean;
  /** Makes room: false when there is no revoked token. */
  deleteOldestRevoked(): boolean;
  count(): number;
  get(id: string): TokenRow | undefined;
  /** Not the pending ones; ascending by id, which is by creation. */
  list(page: { after: string; limit: number }): TokenRow[];
  /** Ascending by id; at most as many as tokens may exist. */
  inState(state: TokenState): TokenRow[];
}

const rowSchema = z.object({
  id: z.string(),
  name: z.string(),
  role: roleSchema,
  state: z.enum(tokenStates),
  bootstrap: z.literal([0, 1]),
  secret_sha256: z.instanceof(Uint8Array),
  created_at_ms: z.int(),
  revoked_at_ms: z.int().nullable(),
});

function parseRow(raw: unknown): TokenRow {
  const row = rowSchema.parse(raw);
  return {
    id: row.id,
    name: row.name,
    role: row.role,
    state: row.state,
    bootstrap: row.bootstrap === 1,
    secretSha256: row.secret_sha256,
    createdAtMs: row.created_at_ms,
    revokedAtMs: row.revoked_at_ms,
  };
}

export function createTokensTable(db: DatabaseSync): TokensTable {
  const insert = db.prepare(`
    INSERT INTO tokens (id, name, role, state, bootstrap, secret_sha256, created_at_ms)
    VALUES (?, ?, ?, 'pending', ?, ?, ?)
  `);
  const activate = db.prepare("UPDATE tokens SET state = 'active' WHERE id = ? AND state = 'pending'");
  const beginRevoke = db.prepare(`
    UPDATE tokens SET state = 'revoking', revoked_at_ms = ?
    WHERE id = ? AND state IN ('pending', 'active')
  `);
  const endRevoke = db.prepare("UPDATE tokens SET state = 'revoked' WHERE id = ? AND state = 'revoking'");
  const deleteOldest = db.prepare(`
    DELETE FROM tokens WHERE id =
      (SELECT id FROM tokens WHERE state = 'revoked' ORDER BY revoked_at_ms, id LIMIT 1)
  `);
  const count = db.prepare("SELECT count(*) AS count FROM tokens");
  const select = db.prepare("SELECT * FROM tokens WHERE id = ?");
  const selectPage = db.prepare(
    "SELECT * FROM tokens WHERE id > ? AND state <> 'pending' ORDER BY id LIMIT ?",
  );
  const selectInState = db.prepare("SELECT * FROM tokens WHERE state = ? ORDER BY id");

  function checkChanged(id: string, changes: number | bigint, to: TokenState): void {
    if (Number(changes) !== 1) throw new RangeError(`Cannot make token "${id}" ${to}: wrong state`);
  }

  return {
    insert(token) {
      const { id, name, role, bootstrap, secretSha256, createdAtMs } = token;
      insert.run(id, name, role, bootstrap ? 1 : 0, secretSha256, createdAtMs);
    },
    activate: (id) => checkChanged(id, activate.run(id).changes, "active"),
    beginRevoke(id, revokedAtMs) {
      checkChanged(id, beginRevoke.run(revokedAtMs, id).changes, "revoking");
    },
    endRevoke: (id) => Number(endRevoke.run(id).changes) === 1,
    deleteOldestRevoked: () => Number(deleteOldest.run().changes) === 1,
    count: () => z.object({ count: z.int() }).parse(count.get()).count,
    get(id) {
      const raw = select.get(id);
      return raw && parseRow(raw);
    },
    list: ({ after, limit }) => selectPage.all(after, limit).map(parseRow),
    inState: (state) => selectInState.all(state).map(parseRow),
  };
}

/**
 * Tokens are the credentials of callers: a secret, known to its holder alone, that stands for a role.
 *
 * A secret is `airlock_` and 32 random bytes in base64url. Only its SHA-256 is kept: the secret has full
 * entropy, so a slow hash would add nothing, and a look-up by hash tells nothing by its timing.
 *
 * Each act is durable in the store and in the ledger before its caller hears of it. What a crash leaves:
 *
 * | between | left behind | the next start |
 * |---|---|---|
 * | row `pending` and its entry `token.created` | a row that authenticates nobody; the entry, perhaps | settles it |
 * | the entry and row `active` | the same | settles it |
 * | row `active` and the answer | a token whose secret died with the process | lists it; an operator revokes it |
 * | row `revoking` and its entry `token.revoked` | a token that is dead already; the entry, perhaps | settles it |
 *
 * To settle is to write `token.revoked` and make the row `revoked`, so the ledger never ends with a token that
 * the store lacks; an id may have more than one `token.revoked`. `DATA/admin.token` is one token's secret, marked
 * `bootstrap`; whatever a crash left of an older or unwritten one is revoked at the next start.
 *
 * @module
 */
import { hash } from "node:crypto";
import { dirname } from "node:path";
import type { Role, TokenView } from "../../schemas/api.ts";
import { ProblemError } from "../../schemas/problem.ts";
import type { LedgerEventInput } from "../ledger/event.ts";
import type { TokenRow, TokensTable } from "../store/tokens_table.ts";
import { createRefusalCount } from "./refusal_count.ts";

export interface Identity {
  readonly id: string;
  readonly role: Role;
  /** `token:<id>`, as it stands in the ledger. */
  readonly actor: string;
}

export interface Tokens {
  /** Of an active token; undefined: unknown or revoked. Looks nowhere but in memory. */
  authenticate(secret: string): Identity | undefined;
  /** Whether the token behind `token:<id>` counts. */
  isActive(actor: string): boolean;
  /** Throws CONFLICT where `tokensMax` tokens are active. The secret is shown this once. */
  create(
    request: { name: string; role: Role },
    actor: string,
  ): Promise<{ token: TokenView; secret: string; checkpoint: string }>;
  /** Ascending by creation. `next` is the `after` of the next page. */
  list(page: { after?: string; limit: number }): { items: TokenView[]; next: string | null };
  /**
   * The token is dead before the promise is returned. Repeating it succeeds, with an entry of its own. Throws
   * TOKEN_NOT_FOUND, and CONFLICT for the last active admin token.
   */
  revoke(id: string, actor: string): Promise<{ token: TokenView; checkpoint: string }>;
  /** Counts a refused credential: one ledger entry a window, however many there are. */
  refused(): void;
  /**
   * Makes `file` (mode 0600) hold a working admin token: keeps a valid one, else writes a new one and revokes the
   * one before. Called once, at start, before anyone can authenticate; settles what a crash left.
   */
  ensureAdminToken(file: string): Promise<{ created: boolean }>;
  /** Writes the count of refusals not yet written. Nothing may be called after it. */
  close(): Promise<void>;
}

type TokenEvent = LedgerEventInput<"token.created" | "token.revoked" | "token.refused">;

/** The part of the ledger that tokens use: durable when it resolves. */
export interface TokenLedger {
  append(event: TokenEvent): Promise<{ readonly checkpoint: string }>;
}

export interface TokensDeps {
  readonly table: TokensTable;
  readonly ledger: TokenLedger;
  readonly nowMs: () => number;
  readonly randomBytes: (count: number) => Uint8Array;
  /** Tokens kept, revoked ones included; the oldest of those make room. */
  readonly tokensMax: number;
  readonly refusalsWindowMs: number;
}

const secretPrefix = "airlock_";
const secretBytes = 32;
const secretChars = secretPrefix.length + Math.ceil(secretBytes * 4 / 3);
const kernelActor = "kernel";

export function createTokens(deps: TokensDeps): Tokens {
  const { table, ledger, nowMs } = deps;
  const refusals = createRefusalCount({ ...deps, windowMs: deps.refusalsWindowMs });
  /** Active tokens by the hex SHA-256 of the secret: the only thing that authenticates. */
  const active = new Map<string, Identity>();
  for (const row of table.inState("active")) activate(row);

  function activate({ id, role, secretSha256 }: Pick<TokenRow, "id" | "role" | "secretSha256">): void {
    active.set(secretSha256.toHex(), Object.freeze({ id, role, actor: `token:${id}` }));
  }

  function authenticate(secret: string): Identity | undefined {
    if (secret.length !== secretChars) return undefined;
    return active.get(hash("sha256", secret, "hex"));
  }

  async function issue(
    { name, role, bootstrap }: { name: string; role: Role; bootstrap: boolean },
    actor: string,
  ): Promise<{ token: TokenView; secret: string; checkpoint: string }> {
    // The administrator's own is made even then: without it the kernel could not start.
    const isFull = table.count() >= deps.tokensMax && !table.deleteOldestRevoked();
    if (isFull && !bootstrap) {
      throw new ProblemError("CONFLICT", `Cannot create token "${name}": ${deps.tokensMax} tokens exist`);
    }
    const createdAtMs = nowMs();
    const id = createId(createdAtMs, deps.randomBytes);
    const secret = createSecret(deps.randomBytes);
    const row = { id, name, role, bootstrap, secretSha256: hashSecret(secret), createdAtMs };
    table.insert(row);
    const { checkpoint } = await ledger.append({
      type: "token.created",
      actor,
      plugin: "",
      data: { token: id, role },
      commit: { name },
    });
    table.activate(id);
    activate(row);
    return { token: viewToken({ ...row, revokedAtMs: null }), secret, checkpoint };
  }

  /** Returns its id. */
  async function makeAdminToken(file: string): Promise<string> {
    const request = { name: "administrator", role: "admin", bootstrap: true } as const;
    const { token, secret } = await issue(request, kernelActor);
    await writeSecret(file, secret);
    return token.id;
  }

  /** From any state; see the table above. */
  async function revokeRow(row: TokenRow, actor: string): Promise<{ token: TokenView; checkpoint: string }> {
    let { revokedAtMs } = row;
    if (revokedAtMs === null) {
      revokedAtMs = nowMs();
      table.beginRevoke(row.id, revokedAtMs);
      active.delete(row.secretSha256.toHex());
    }
    const { checkpoint } = await ledger.append({
      type: "token.revoked",
      actor,
      plugin: "",
      data: { token: row.id },
    });
    table.endRevoke(row.id);
    return { token: viewToken({ ...row, revokedAtMs }), checkpoint };
  }

  return {
    authenticate,
    create: (request, actor) => issue({ ...request, bootstrap: false }, actor),
    list({ after = "", limit }) {
      const rows = table.list({ after, limit: limit + 1 });
      const items = rows.slice(0, limit).map(viewToken);
      return { items, next: rows.length > limit ? items.at(-1)?.id ?? null : null };
    },
    async revoke(id, actor) {
      const row = table.get(id);
      if (row === undefined || row.state === "pending") {
        throw new ProblemError("TOKEN_NOT_FOUND", `Cannot revoke token "${id}": there is none`);
      }
      if (isLastAdmin(active.values(), id)) {
        throw new ProblemError(
          "CONFLICT",
          `Cannot revoke token "${id}": it is the last one with the role admin`,
        );
      }
      return await revokeRow(row, actor);
    },
    isActive: (actor) => active.values().some((identity) => identity.actor === actor),
    refused: refusals.add,
    async ensureAdminToken(file) {
      for (const row of [...table.inState("pending"), ...table.inState("revoking")]) {
        await revokeRow(row, kernelActor);
      }
      const held = authenticate(await readSecret(file) ?? "");
      const created = held?.role !== "admin";
      const current = created ? await makeAdminToken(file) : held.id;
      await Deno.chmod(file, 0o600);
      // Only now, with a working secret in the file.
      for (const row of table.inState("active")) {
        if (row.bootstrap && row.id !== current) await revokeRow(row, kernelActor);
      }
      return { created };
    },
    close: refusals.close,
  };
}

/** Sorts by creation: 12 hex digits of milliseconds, 8 random ones. */
function createId(createdAtMs: number, randomBytes: (count: number) => Uint8Array): string {
  return createdAtMs.toString(16).padStart(12, "0") + randomBytes(4).toHex();
}

function createSecret(randomBytes: (count: number) => Uint8Array): string {
  const random = randomBytes(secretBytes).toBase64({ alphabet: "base64url", omitPadding: true });
  return secretPrefix + random;
}

function hashSecret(secret: string): Uint8Array {
  return Uint8Array.fromHex(hash("sha256", secret, "hex"));
}

function viewToken(
  { id, name, role, createdAtMs, revokedAtMs }: Omit<TokenRow, "state" | "bootstrap" | "secretSha256">,
): TokenView {
  return {
    id,
    name,
    role,
    createdAt: new Date(createdAtMs).toISOString(),
    revokedAt: revokedAtMs === null ? null : new Date(revokedAtMs).toISOString(),
  };
}

/** undefined: there is no such file. A file that holds something else reads as a secret nobody has. */
async function readSecret(file: string): Promise<string | undefined> {
  try {
    const { size } = await Deno.stat(file);
    return size > 2 * secretChars ? "" : (await Deno.readTextFile(file)).trimEnd();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw new Error(`Cannot read the admin token "${file}": ${String(error)}`, { cause: error });
  }
}

/** Atomic and durable: after a crash the file is the old one or the new one, whole. */
async function writeSecret(file: string, secret: string): Promise<void> {
  const temporary = `${file}.tmp`;
  // Left over where a crash came before the rename; neither its mode nor its content is to be trusted.
  await removeFile(temporary);
  await Deno.writeTextFile(temporary, `${secret}\n`, { createNew: true, mode: 0o600 });
  await syncPath(temporary);
  await Deno.rename(temporary, file);
  await syncPath(dirname(file));
}

async function syncPath(path: string): Promise<void> {
  using handle = await Deno.open(path, { read: true });
  await handle.sync();
}

async function removeFile(file: string): Promise<void> {
  try {
    await Deno.remove(file);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

function isLastAdmin(active: Iterable<Identity>, id: string): boolean {
  const admins = [...active].filter(({ role }) => role === "admin");
  return admins.length === 1 && admins[0]?.id === id;
}

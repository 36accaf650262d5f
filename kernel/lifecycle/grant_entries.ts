/**
 * The ledger entries of grants: whatever comes into force or goes out of it has one, with who did it.
 *
 * Grants change by an operator's order, and between two lives of the kernel: by `airlock.jsonc`, by another
 * package in a plugin's folder, by a package that cannot be had any more. The store keeps what the ledger was
 * told last; the difference is told before the grants can be used.
 *
 * What a crash leaves: a row that is pending. The ledger then says what it said before, or what was being told.
 * The next entries are right after either: a scope may be given that the ledger has as given, and the same with
 * taken.
 *
 * @module
 */
import { isDeepStrictEqual } from "node:util";
import type { OperatorGrants } from "../../schemas/capabilities.ts";
import { concurrently } from "../registry/concurrently.ts";
import type { Scopes } from "../store/grants_told_table.ts";
import type { SupervisedCell } from "./plugin.ts";
import type { PluginsDeps } from "./plugins_deps.ts";
import { grantedScopes, type Release } from "./release.ts";

type Deps = Pick<PluginsDeps<SupervisedCell>, "store" | "ledger" | "config">;

/** Plugins whose entries wait for the disk at once: more than fit into one sync of the ledger. */
const tellsMax = 512;

/** A plugin, and the release that it is to have; none where nothing of it may run. */
export interface Granted {
  readonly id: string;
  /** `id@version`, or the id alone. */
  readonly name: string;
  readonly release: Release | undefined;
}

export class GrantEntries {
  /** By plugin, the last one who changes its grants; those of installed plugins, and as many at most. */
  readonly #turns = new Map<string, Promise<unknown>>();

  constructor(private readonly deps: Deps) {}

  /**
   * Changes the grants of one plugin at a time: what was told last is what is in force. An order does, and with
   * `--dev` the start of a cell by a call.
   */
  inTurn<T>(id: string, work: () => Promise<T>): Promise<T> {
    const done = (this.#turns.get(id) ?? Promise.resolve()).then(work);
    this.#turns.set(id, done.catch(() => {})); // whoever asked for it is told
    return done;
  }

  /** A grant set through the API replaces what the configuration says. */
  operatorOf(id: string): OperatorGrants | undefined {
    const { grants } = this.deps.config;
    // An id may be the name of something that every object has.
    return this.deps.store.grants.get(id)?.grants ?? (Object.hasOwn(grants, id) ? grants[id] : undefined);
  }

  /** Tells what an order changes. The ledger and the store know when it resolves. */
  async tell(granted: Granted, operator: OperatorGrants | undefined, actor: string): Promise<void> {
    const { id, name, release } = granted;
    const { store } = this.deps;
    const { grantsTold } = store;
    const now = release === undefined ? {} : grantedScopes(release.grants);
    const row = grantsTold.get(id);
    const known = { plugin: id, operator: row?.operator ?? {}, granted: row?.granted ?? {} };
    const maybe = row?.pending ?? known.granted;
    const given = union(minus(now, known.granted), minus(now, maybe));
    const taken = minus(union(known.granted, maybe), now);
    const changes = [["grant.taken", taken], ["grant.given", given]] as const;
    const told = changes.filter(([, scopes]) => Object.keys(scopes).length > 0);
    if (told.length > 0) {
      await store.together(() => grantsTold.set({ ...known, pending: now }));
      await Promise.all(
        told.map(([type, granted]) =>
          this.deps.ledger.append({ type, actor, plugin: name, data: { granted } })
        ),
      );
    }
    const next = { plugin: id, operator: operator ?? {}, granted: now, pending: null };
    // A start finds most rows as they are to be.
    if (told.length === 0 && (row === undefined || isDeepStrictEqual(row, next))) return;
    await store.together(() => grantsTold.set(next));
  }

  /** Tells what changed since the last life of the kernel: by the configuration, or by itself. */
  async tellFound(granted: Granted): Promise<void> {
    const { grants, grantsTold } = this.deps.store;
    const operator = this.operatorOf(granted.id);
    const isConfigs = grants.get(granted.id) === undefined &&
      !isDeepStrictEqual(grantsTold.get(granted.id)?.operator ?? {}, operator ?? {});
    await this.tell(granted, operator, isConfigs ? "config" : "kernel");
  }

  /** Takes everything from plugins that are not `installed` any more. */
  async tellGone(installed: ReadonlyMap<string, unknown>): Promise<void> {
    const { store } = this.deps;
    const gone = store.grantsTold.list().map(({ plugin }) => plugin).filter((id) => !installed.has(id));
    await concurrently(gone, tellsMax, async (id) => {
      await this.tell({ id, name: id, release: undefined }, undefined, "kernel");
      await store.together(() => store.grantsTold.delete(id));
    });
  }
}

type GrantScopes = ReturnType<typeof grantedScopes>;

/** The scopes of `all` that are not in `others`; permissions that have none are left out. */
function minus(all: Scopes, others: Scopes): GrantScopes {
  const rest = Object.entries(all).map(([name, scopes]) => {
    const known = new Set(others[name]);
    return [name, scopes.filter((scope) => !known.has(scope))] as const;
  });
  return Object.fromEntries(rest.filter(([, scopes]) => scopes.length > 0));
}

function union(some: Scopes, others: Scopes): GrantScopes {
  const names = new Set([...Object.keys(some), ...Object.keys(others)]);
  return Object.fromEntries(
    [...names].map((name) => [name, [...new Set([...some[name] ?? [], ...others[name] ?? []])]]),
  );
}

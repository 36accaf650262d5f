/**
 * An audit client reads a plugin's audit and grants from a running kernel.
 *
 * @module
 */
import { type AuditItem, type AuditOutcome, auditViewSchema } from "../schemas/audit.ts";
import { grantsViewSchema } from "../schemas/api.ts";
import {
  type Grants,
  grantsSchema,
  type OperatorGrants,
  operatorGrantsSchema,
} from "../schemas/capabilities.ts";
import { pluginIdSchema } from "../schemas/plugin_id.ts";
import { UsageError } from "./command_line.ts";
import { type KernelAccess, KernelClient } from "./kernel_client.ts";

export interface PluginAudit {
  readonly items: readonly AuditItem[];
  /** Refused checks that none of them counts. */
  readonly untold: number;
  /** False: nothing is known of what the plugin asks for now. */
  readonly isAudited: boolean;
}

/** Why there is no audit. */
export const unauditedState =
  "this Airlock audits nothing, because its machine has no mkfifo or because it is a compiled binary";

const pageItems = 1_000;
/** A kernel keeps `audit.resourcesMax` of each outcome, which an operator may have raised. */
const pagesMax = 1_000;
const grantsView = grantsViewSchema.extend({ granted: grantsSchema, operator: operatorGrantsSchema });

export class AuditClient {
  readonly #client: KernelClient;
  readonly #signal: AbortSignal;

  constructor(access: KernelAccess, readonly plugin: string, signal: AbortSignal) {
    this.#client = new KernelClient(access, `plugin "${plugin}"`);
    this.#signal = signal;
  }

  /** Throws UnreadableError. */
  async audit(outcome?: AuditOutcome): Promise<PluginAudit> {
    const query = new URLSearchParams({
      limit: String(pageItems),
      ...(outcome === undefined ? {} : { outcome }),
    });
    const items: AuditItem[] = [];
    for (let page = 0; page < pagesMax; page++) {
      const path = `/v1/plugins/${this.plugin}/audit`;
      const view = await this.#client.get(path, query, auditViewSchema, this.#signal);
      items.push(...view.items);
      if (view.next === null) return { items, untold: view.untold, isAudited: view.isAudited };
      query.set("after", view.next);
    }
    throw this.#client.unexpected("its pages do not end");
  }

  /** What the operator granted, and what is in force with it. Throws UnreadableError. */
  async grants(): Promise<{ readonly operator: OperatorGrants; readonly granted: Grants }> {
    const path = `/v1/plugins/${this.plugin}/grants`;
    return await this.#client.get(path, new URLSearchParams(), grantsView, this.#signal);
  }
}

/** The one word that an `audit` command takes. Throws {@linkcode UsageError}. */
export function parsePluginId(command: string, [id]: readonly string[]): string {
  if (id === undefined) throw new UsageError(`Cannot run "${command}": it needs a plugin's id`);
  if (pluginIdSchema.safeParse(id).success) return id;
  throw new UsageError(`Cannot run "${command}": "${id}" is no plugin's id, they have a-z, 0-9 and hyphens`);
}

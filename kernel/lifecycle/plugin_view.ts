/**
 * A plugin as the API shows it. Pure.
 *
 * @module
 */
import type { PluginStatus, PluginView } from "../../schemas/api.ts";
import { type Isolation, type OperatorGrants, permissionNames } from "../../schemas/capabilities.ts";
import type { ActionManifest } from "../../schemas/manifest.ts";
import type { Installed } from "./plugins.ts";
import type { SupervisedCell } from "./plugin.ts";

/** `isolation` and `operator` are those of a cell that would start now. */
export function pluginView(
  installed: Installed<SupervisedCell>,
  now: { isolation: Isolation; operator: OperatorGrants | undefined },
): PluginView {
  const { id, plugin, scanned, enabled } = installed;
  const manifest = scanned.kind === "admitted" ? plugin.release?.manifest ?? scanned.manifest : undefined;
  return {
    id,
    version: manifest?.version ?? "",
    name: manifest?.name ?? null,
    description: manifest?.description ?? null,
    state: plugin.state,
    enabled,
    standing: scanned.kind,
    status: statusOf(installed),
    kind: manifest?.kind ?? "custom",
    tier: manifest?.tier ?? "tool",
    signed: false,
    packageSha256: plugin.release?.digest ?? (scanned.kind === "admitted" ? scanned.digest : ""),
    isolation: plugin.release?.isolation ?? now.isolation,
    pid: plugin.pid,
    loadedAt: instant(plugin.loadedAtMs),
    lastActivityAt: instant(plugin.lastActivityMs),
    limits: plugin.release?.limits ?? {},
    restarts: plugin.restarts,
    breaker: "closed",
    actions: Object.fromEntries(
      Object.entries(manifest?.actions ?? {}).map(([name, action]) => [
        name,
        actionView(action, plugin.release?.limits.wallMs ?? manifest?.limits.wallMs ?? 0),
      ]),
    ),
    requested: requestedView(manifest?.capabilities),
    granted: plugin.release?.grants ?? {},
    lastError: lastErrorOf(installed),
  };
}

function actionView(action: ActionManifest, wallMs: number): PluginView["actions"][string] {
  return {
    description: action.description ?? null,
    stream: action.stream,
    idempotent: action.idempotent,
    concurrency: action.concurrency,
    timeoutMs: Math.min(action.timeoutMs ?? wallMs, wallMs),
    input: action.input ?? null,
    output: action.output ?? null,
  };
}

function requestedView(capabilities: Record<string, unknown> | undefined): PluginView["requested"] {
  const lists = permissionNames.map((name) => [name, capabilities?.[name] ?? []]);
  return Object.fromEntries([...lists, ["eval", capabilities?.["eval"] ?? false]]);
}

function statusOf({ enabled, scanned, plugin, fault }: Installed<SupervisedCell>): PluginStatus {
  if (scanned.kind === "rejected" || fault !== undefined || plugin.state === "quarantined") return "error";
  if (!enabled || plugin.state === "unloaded") return "disabled";
  if (plugin.state === "error") return "error";
  return plugin.state === "loading" || plugin.state === "starting" ? "loading" : "ready";
}

function lastErrorOf({ scanned, plugin, fault }: Installed<SupervisedCell>): PluginView["lastError"] {
  if (scanned.kind === "rejected") {
    const { code, message, options } = scanned.error;
    return {
      code,
      message,
      at: new Date(0).toISOString(),
      ...(options.errors === undefined ? {} : { errors: options.errors }),
    };
  }
  const last = fault ?? plugin.lastFault;
  return last === undefined
    ? null
    : { code: last.code, message: last.message, at: new Date(last.atMs).toISOString() };
}

function instant(ms: number | undefined): string | null {
  return ms === undefined ? null : new Date(ms).toISOString();
}

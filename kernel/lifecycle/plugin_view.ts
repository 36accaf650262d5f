/**
 * A plugin as the API shows it. Pure.
 *
 * @module
 */
import type { PluginStatus, PluginView } from "../../schemas/api.ts";
import { type Isolation, permissionNames } from "../../schemas/capabilities.ts";
import type { ActionManifest } from "../../schemas/manifest.ts";
import type { ProblemError } from "../../schemas/problem.ts";
import type { Health } from "./health_watch.ts";
import type { Installed } from "./installed.ts";
import type { SupervisedCell } from "./plugin.ts";

/** What is told of a plugin at each of its changes: the part of its view that may be another then. */
export type PluginChange = Pick<PluginView, "id" | "state" | "status" | "breaker">;

export function pluginChange(installed: Installed<SupervisedCell>): PluginChange {
  const { id, plugin, breaker } = installed;
  return { id, state: plugin.state, status: statusOf(installed), breaker: breaker.state };
}

/** `isolation` is that of a cell that would start now. */
export function pluginView(installed: Installed<SupervisedCell>, isolation: Isolation): PluginView {
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
    isolation: plugin.release?.isolation ?? isolation,
    pid: plugin.pid,
    loadedAt: instant(plugin.loadedAtMs),
    lastActivityAt: instant(plugin.lastActivityMs),
    limits: plugin.release?.limits ?? {},
    restarts: plugin.restarts,
    breaker: installed.breaker.state,
    critical: manifest?.critical ?? false,
    health: healthOf(plugin.health),
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

function lastErrorOf(installed: Installed<SupervisedCell>): PluginView["lastError"] {
  const { scanned, scannedAtMs, plugin, fault } = installed;
  if (scanned.kind === "rejected") return errorView(scanned.error, scannedAtMs);
  if (fault !== undefined) return errorView(fault.error, fault.atMs);
  return plugin.lastFault === undefined ? null : errorView(plugin.lastFault.error, plugin.lastFault.atMs);
}

function healthOf(health: Health | undefined): PluginView["health"] {
  if (health === undefined) return null;
  const { status, atMs, message } = health;
  return { status, at: new Date(atMs).toISOString(), message };
}

function errorView({ code, message, options: { errors } }: ProblemError, atMs: number) {
  return { code, message, at: new Date(atMs).toISOString(), ...(errors === undefined ? {} : { errors }) };
}

function instant(ms: number | undefined): string | null {
  return ms === undefined ? null : new Date(ms).toISOString();
}

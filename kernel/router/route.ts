/**
 * A route is what would take a call of an action now, and on which terms.
 *
 * To look for one records nothing and wakes nobody: a call does so before anything else, and jobs do before they
 * make one.
 *
 * @module
 */
import type { ActionManifest, Manifest } from "../../schemas/manifest.ts";
import { ProblemError } from "../../schemas/problem.ts";
import { checkCallable, checkKnown, type Installed, nameInLedger } from "../lifecycle/installed.ts";
import type { CallableCell, CallTerms } from "./call.ts";

export interface Route {
  readonly installed: Installed<CallableCell>;
  readonly manifest: Manifest;
  readonly action: ActionManifest;
  /** The smaller of the action's and the plugin's. */
  readonly wallMs: number;
}

/** Throws the ProblemError that says why nothing takes a call now. */
export function findRoute(installed: Installed<CallableCell>, actionName: string): Route {
  const manifest = checkCallable(installed);
  const action = actionOf(installed.id, manifest, actionName);
  const wallMsMax = installed.plugin.release?.limits.wallMs ?? manifest.limits.wallMs;
  const wallMs = Math.min(action.timeoutMs ?? wallMsMax, wallMsMax);
  if (installed.breaker.retryAfterMs() > 0) throw breakerOpen(installed);
  return { installed, manifest, action, wallMs };
}

export function termsOf({ installed, manifest, action, wallMs }: Route): CallTerms {
  const { concurrency, idempotent: isIdempotent, retry } = action;
  const isPerCall = manifest.reuse === "per-call";
  const { name: plugin } = installed.plugin;
  return { plugin, concurrency: isPerCall ? 1 : concurrency, isPerCall, isIdempotent, wallMs, retry };
}

/** `id@version` of what has the action, be it callable now or not. Throws PLUGIN_REJECTED or ACTION_NOT_FOUND. */
export function describeRoute(installed: Installed<CallableCell>, actionName: string): { plugin: string } {
  actionOf(installed.id, checkKnown(installed), actionName);
  return { plugin: nameInLedger(installed) };
}

export function breakerOpen({ id, breaker }: Installed<CallableCell>): ProblemError {
  const retryAfterMs = Math.max(1, breaker.retryAfterMs());
  const state = `its breaker is ${breaker.state}, because its last calls failed`;
  return new ProblemError("BREAKER_OPEN", `Cannot call plugin "${id}": ${state}`, { retryAfterMs });
}

function actionOf(plugin: string, { actions }: Manifest, name: string): ActionManifest {
  const action = Object.hasOwn(actions, name) ? actions[name] : undefined;
  if (action !== undefined) return action;
  const state = `it has ${Object.keys(actions).join(", ")}`;
  throw new ProblemError("ACTION_NOT_FOUND", `Cannot call "${name}" of plugin "${plugin}": ${state}`);
}

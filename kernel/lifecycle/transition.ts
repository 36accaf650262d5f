/**
 * The states of a plugin and the only ways between them.
 *
 *     unloaded → loading → loaded → starting → running ⇄ suspended
 *                                    running → sleeping (idle, no process) → starting
 *     running → stopping → loaded → unloading → unloaded
 *     any → error; error → starting … → quarantined; error, quarantined → loaded (an operator's reset)
 *
 * A quarantine that outlived the kernel is entered anew: loaded → error → quarantined.
 * `stopping` and `unloading` end where the table says, or in `error`. Pure.
 *
 * @module
 */
import type { PluginState } from "../../schemas/api.ts";

export const lifecycleEvents = [
  "load",
  "admit",
  "start",
  "ready",
  "suspend",
  "resume",
  "sleep",
  "stop",
  "stopped",
  "unload",
  "unloaded",
  "fail",
  "give_up",
  "reset",
] as const;
export type LifecycleEvent = (typeof lifecycleEvents)[number];

type Row = Partial<Record<LifecycleEvent, PluginState>>;

/** State → event → next state. What is absent is illegal. */
export const transitions: Readonly<Record<PluginState, Row>> = {
  unloaded: { load: "loading" },
  loading: { admit: "loaded", fail: "error" },
  loaded: { load: "loading", start: "starting", unload: "unloading", fail: "error" },
  starting: { ready: "running", stop: "stopping", fail: "error" },
  running: { suspend: "suspended", sleep: "sleeping", stop: "stopping", fail: "error" },
  suspended: { resume: "running", stop: "stopping", fail: "error" },
  sleeping: { start: "starting", stop: "stopping", fail: "error" },
  stopping: { stopped: "loaded", fail: "error" },
  unloading: { unloaded: "unloaded", fail: "error" },
  error: {
    load: "loading",
    start: "starting",
    stop: "stopping",
    unload: "unloading",
    give_up: "quarantined",
    reset: "loaded",
    fail: "error",
  },
  quarantined: { reset: "loaded", unload: "unloading" },
};

/** Throws RangeError when `event` is illegal in `state`: a bug of the caller. */
export function transition(state: PluginState, event: LifecycleEvent): PluginState {
  const next = transitions[state][event];
  if (next === undefined) throw new RangeError(`Cannot apply "${event}" to a plugin: it is ${state}`);
  return next;
}

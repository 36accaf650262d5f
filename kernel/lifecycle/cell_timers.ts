/**
 * The timers of one cell: one puts an idle plugin to sleep, the other asks for its health.
 *
 * Idleness is told by a clock that never goes back or leaps: a change of the time of day puts nobody to sleep.
 *
 * @module
 */
import { type Health, HealthWatch } from "./health_watch.ts";
import type { PluginDeps } from "./supervision_deps.ts";
import type { Release } from "./release.ts";
import type { SupervisedCell } from "./supervised_cell.ts";

/** The kernel around it; `nowMs` is of the time of day. */
type Deps = Pick<PluginDeps<SupervisedCell>, "config" | "timing" | "nowMs" | "track">;

export interface CellTimersOptions {
  readonly plugin: string;
  readonly cell: SupervisedCell;
  readonly manifest: Release["manifest"];
  /** When the plugin was of use last, by `timing`. */
  usedAtMs(): number;
  isAwake(): boolean;
  sleep(): Promise<void>;
  onHealth(health: Health): void;
}

/** Idleness is looked at no more often. */
const idleLookMsMin = 50;

export class CellTimers implements Disposable {
  readonly #idle: ReturnType<typeof setInterval>;
  readonly #health: HealthWatch | undefined;

  constructor(deps: Deps, options: CellTimersOptions) {
    const { plugin, cell, manifest: { idleMs, health } } = options;
    const { config, timing } = deps;
    this.#idle = setInterval(() => {
      if (timing.nowMs() - options.usedAtMs() >= idleMs) deps.track(options.sleep());
    }, Math.max(idleLookMsMin, idleMs / 4));
    this.#health = health && new HealthWatch({
      ...{ plugin, cell, timing, terms: health },
      failuresMax: config.cells.healthFailuresMax,
      nowMs: () => deps.nowMs(),
      isAwake: () => options.isAwake(),
      onResult: (result) => options.onHealth(result),
      track: (work) => deps.track(work),
    });
  }

  [Symbol.dispose](): void {
    clearInterval(this.#idle);
    this.#health?.[Symbol.dispose]();
  }
}

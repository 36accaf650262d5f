/**
 * Keeps the turns of greedy cells: looks at what the kernel and the cells want of the CPU, and stops those whose turn
 * it is not.
 *
 * @module
 */
import type { Config } from "../../schemas/config.ts";
import type { CellMonitor } from "./cell_monitor.ts";
import { CpuTurns } from "./cpu_turns.ts";
import { demandOf } from "./proc.ts";
import { ThreadShares } from "./thread_shares.ts";

export interface TurnKeeperOptions {
  readonly kernelPid: number;
  readonly cores: number;
  readonly config: Pick<Config["cells"], "greedyPercentMin">;
}

/** What the kernel wants is what it wanted for about so long. */
const windowMs = 400;

type Watched = Pick<CellMonitor, "cores" | "takesTurns" | "hold" | "release">;

export class TurnKeeper<T extends Watched = CellMonitor> {
  readonly #turns: CpuTurns<T>;
  readonly #kernel = new ThreadShares();
  #kernelAtMs = 0;

  constructor(private readonly options: TurnKeeperOptions) {
    const { cores, config } = options;
    this.#turns = new CpuTurns({ cores, partMin: config.greedyPercentMin / 100 });
  }

  /** To be asked at each look, with all that run. */
  look(monitors: readonly T[], nowMs: number): void {
    const behind = monitors.filter(({ takesTurns }) => takesTurns);
    const wanted = behind.length === 0 ? 0 : this.#wanted(monitors, nowMs);
    const running = this.#turns.take(behind, wanted);
    for (const monitor of monitors) {
      if (!monitor.takesTurns || running.has(monitor)) monitor.release(nowMs);
      else monitor.hold(nowMs);
    }
  }

  /** By all that are not behind. */
  #wanted(monitors: readonly T[], nowMs: number): number {
    this.#kernel.take(demandOf([this.options.kernelPid]), nowMs - this.#kernelAtMs, windowMs);
    this.#kernelAtMs = nowMs;
    return monitors.reduce((sum, { cores, takesTurns }) => takesTurns ? sum : sum + cores, this.#kernel.sum);
  }
}

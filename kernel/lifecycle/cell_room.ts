/**
 * The room for cells: how many are alive, and who makes way for the next one.
 *
 * Invariant: at most `cells.awakeMax` cells are alive or being started.
 *
 * @module
 */
import { ProblemError } from "../../schemas/problem.ts";
import { type Installed, writeLog } from "./installed.ts";
import type { SupervisedCell } from "./plugin.ts";
import type { PluginsDeps } from "./plugins_deps.ts";
import { cellRequestOf, checkIsolation, type Release } from "./release.ts";

type Deps<Cell extends SupervisedCell> = Pick<PluginsDeps<Cell>, "config" | "sandbox" | "verifyPackage">;

/** Those who find no room should come again after this long. */
const retryAfterMs = 1_000;

export class CellRoom<Cell extends SupervisedCell> {
  /** Alive or being started. */
  #cells = 0;

  constructor(
    private readonly deps: Deps<Cell>,
    private readonly installed: ReadonlyMap<string, Installed<Cell>>,
  ) {}

  /** Rejects with ProblemError. Who starts a cell tells of its end: {@linkcode CellRoom.left}. */
  async start(installed: Installed<Cell>, release: Release): Promise<Cell> {
    const { id } = installed;
    checkIsolation(release);
    await this.#enter(id);
    try {
      await makeDataFolder(id, release.dataDir);
      return await this.deps.sandbox.start({
        plugin: id,
        ...cellRequestOf(release, this.deps.config),
        verified: this.deps.verifyPackage(release.digest),
        onLog: (source, level, text) => writeLog(installed.log, source, level, text),
      });
    } catch (error) {
      this.#cells--;
      throw error;
    }
  }

  /** A cell that was started has ended. */
  left(): void {
    this.#cells--;
  }

  /** Puts the plugins to sleep that were idle for longest, until another cell may live. Throws QUEUE_FULL. */
  async #enter(id: string): Promise<void> {
    const { awakeMax } = this.deps.config.cells;
    if (this.#tryEnter()) return;
    const idleLongest = [...this.installed.values()].filter(({ plugin }) => plugin.state === "running")
      .sort((a, b) => (a.plugin.lastActivityMs ?? 0) - (b.plugin.lastActivityMs ?? 0));
    for (const { plugin } of idleLongest) {
      await plugin.inOrder(() => plugin.sleep("idle"));
      if (this.#tryEnter()) return;
    }
    throw new ProblemError("QUEUE_FULL", `Cannot start plugin "${id}": ${awakeMax} plugins are busy`, {
      retryAfterMs,
    });
  }

  /** Looks and takes at once, because many may wait for the same place. */
  #tryEnter(): boolean {
    if (this.#cells >= this.deps.config.cells.awakeMax) return false;
    this.#cells++;
    return true;
  }
}

/** A plugin in the process tier can put something else in the place of its folder: that is its own loss. */
export async function makeDataFolder(id: string, folder: string): Promise<void> {
  try {
    await Deno.mkdir(folder, { recursive: true, mode: 0o700 });
  } catch (cause) {
    const state = `its private folder cannot be made: ${String(cause)}`;
    throw new ProblemError("PLUGIN_START_FAILED", `Cannot start plugin "${id}": ${state}`, { cause });
  }
}

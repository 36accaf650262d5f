/**
 * The room for cells: how many are alive, and who makes way for the next one.
 *
 * Invariant: at most `cells.awakeMax` cells are alive or being started.
 *
 * A plugin that makes way may be busy with an order of its own: who waits for room has one deadline, and finds
 * none when that is over.
 *
 * @module
 */
import { ProblemError } from "../../schemas/problem.ts";
import type { AuditedCell } from "../trust/audit.ts";
import { createJudge } from "../trust/permission_outcome.ts";
import { type Installed, writeLog } from "./installed.ts";
import type { SupervisedCell } from "./plugin.ts";
import type { PluginsDeps } from "./plugins_deps.ts";
import { cellRequestOf, checkIsolation, type Release } from "./release.ts";

type Deps<Cell extends SupervisedCell> = Pick<
  PluginsDeps<Cell>,
  "audit" | "config" | "sandbox" | "timing" | "track" | "verifyPackage"
>;

/** Those who find no room should come again after this long. */
const retryAfterMs = 1_000;

export class CellRoom<Cell extends SupervisedCell> {
  /** Alive or being started. */
  #cells = 0;
  readonly #closing = new AbortController();

  constructor(
    private readonly deps: Deps<Cell>,
    private readonly installed: ReadonlyMap<string, Installed<Cell>>,
  ) {}

  /** Rejects with ProblemError. Who starts a cell tells of its end: {@linkcode CellRoom.left}. */
  async start(installed: Installed<Cell>, release: Release): Promise<Cell> {
    const { id } = installed;
    checkIsolation(release);
    await this.#enter(id);
    const audited = auditedCell(release);
    try {
      await makeDataFolder(id, release.dataDir);
      return await this.deps.sandbox.start({
        plugin: id,
        ...cellRequestOf(release, this.deps.config),
        verified: this.deps.verifyPackage(release.digest),
        signal: this.#closing.signal,
        onLog: (source, level, text) => writeLog(installed.log, source, level, text),
        onAudit: (checks) => this.deps.audit.take(audited, checks),
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

  /** Ends the starts that are under way, and lets none begin: they reject with NOT_READY. */
  close(): void {
    this.#closing.abort();
  }

  /** Puts the plugins to sleep that were idle for longest, until another cell may live. Throws QUEUE_FULL. */
  async #enter(id: string): Promise<void> {
    const { config: { cells: { awakeMax, startTimeoutMs } }, timing, track } = this.deps;
    if (this.#tryEnter()) return;
    const over = Promise.withResolvers<"over">();
    const end = () => over.resolve("over");
    const cancelTimer = timing.setTimer(end, startTimeoutMs);
    this.#closing.signal.addEventListener("abort", end);
    const idleLongest = [...this.installed.values()].filter(({ plugin }) => plugin.state === "running")
      .sort((a, b) => a.plugin.usedAtMs - b.plugin.usedAtMs);
    try {
      for (const { plugin } of idleLongest) {
        const asleep = plugin.inOrder(() => plugin.sleep("idle"));
        track(asleep);
        const outcome = await Promise.race([asleep, over.promise]);
        if (this.#tryEnter()) return;
        if (outcome === "over") break;
      }
    } finally {
      cancelTimer();
      this.#closing.signal.removeEventListener("abort", end);
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

/** What is told of a cell is judged by what it was started with, whatever is granted by then. */
function auditedCell({ manifest: { id, version }, grants, packageDir, dataDir }: Release): AuditedCell {
  const judge = createJudge({ grants, packageFolder: packageDir, dataFolder: dataDir });
  return { id, name: `${id}@${version}`, judge };
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

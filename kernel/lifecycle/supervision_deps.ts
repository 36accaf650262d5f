/**
 * What the supervision of one plugin needs of the kernel around it.
 *
 * Types only.
 *
 * @module
 */
import type { LedgerEventInput } from "../ledger/ledger.ts";
import type { StopReason } from "./cell_entries.ts";
import type { RecoveryDeps } from "./recovery.ts";
import type { Release } from "./release.ts";
import type { SupervisedCell } from "./supervised_cell.ts";

export interface PluginDeps<Cell extends SupervisedCell> extends RecoveryDeps {
  startCell(release: Release): Promise<Cell>;
  record(event: LedgerEventInput): Promise<unknown>;
  /** Its state is another. Does not throw. */
  changed?(): void;
  onCellStarted(reason: "operator" | "wake" | "restart"): void;
  onCellEnded(reason: StopReason | "killed" | "crashed"): void;
  /** Throws why a call may not have the plugin started: somebody may have stopped it while the call waited. */
  checkCallable(): void;
  /** What to start instead: in `--dev`, what stands in the plugin's folder now. */
  refresh?(release: Release): Promise<Release>;
  /** Runs in the background; its failure is the kernel's. */
  track(work: Promise<unknown>): void;
}

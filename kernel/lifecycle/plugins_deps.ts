/**
 * What the supervision of all plugins needs of the kernel around it.
 *
 * Types only.
 *
 * @module
 */
import type { PermissionCheck } from "../../schemas/audit.ts";
import type { CellSetup } from "../../schemas/cell_protocol.ts";
import type { CellDescription } from "../../schemas/warden_protocol.ts";
import type { Ledger } from "../ledger/ledger.ts";
import type { ScannedPlugin } from "../registry/registry.ts";
import type { Store } from "../store/store.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import type { Audit } from "../trust/audit.ts";
import type { ReleaseTerms } from "./release.ts";
import type { SupervisedCell } from "./supervised_cell.ts";
import type { Clock } from "../../sandbox/clock.ts";

/** Starts cells; `sandbox/` provides it. */
export interface CellStarter<Cell extends SupervisedCell> {
  start(request: {
    plugin: string;
    description: Omit<CellDescription, "cell" | "token">;
    setup: CellSetup;
    verified: Promise<void>;
    /** Airlock stops: the start is to end, with NOT_READY. */
    signal: AbortSignal;
    onLog(source: "log" | "output", level: "debug" | "info" | "warn" | "error", text: string): void;
    /** What the cell's code asked Deno for since it was last told. */
    onAudit(checks: readonly PermissionCheck[]): void;
  }): Promise<Cell>;
}

export interface PluginsDeps<Cell extends SupervisedCell> extends ReleaseTerms {
  readonly sandbox: CellStarter<Cell>;
  /** Why the warden would refuse a cell over these, or `null`: it can look at paths that the kernel cannot. */
  checkDescription(
    description: Pick<CellDescription, "tier" | "packageDir" | "dataDir" | "grants">,
  ): Promise<string | null>;
  readonly store: Store;
  readonly ledger: Ledger;
  readonly metrics: Metrics;
  readonly audit: Pick<Audit, "take">;
  readonly timing: Clock;
  /** From 0 to 1. */
  random(): number;
  nowMs(): number;
  /** Tells the operator what is not as a manifest or the configuration has it. */
  warn(message: string): void;
  track(work: Promise<unknown>): void;
  /**
   * What is shown of a plugin may be other than before: its state, whether it is enabled, its package's standing,
   * its fault or its breaker. Called in the middle of that, so it may look, and change nothing.
   */
  changed?(id: string): void;
  /** The kernel can no longer keep its promises: ends the process. */
  fatal(error: Error): void;
  readPackage(folder: string): Promise<ScannedPlugin>;
  verifyPackage(digest: string): Promise<void>;
}

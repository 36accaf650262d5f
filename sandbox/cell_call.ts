/**
 * A call as a cell is asked to make it: what is called, how long it may take, and who hears of it.
 *
 * @module
 */
import type { CallJob } from "../schemas/cell_protocol.ts";

/** Receives what a call sends before its result. */
export interface CallSink {
  /** `json` is the text of exactly one JSON value. Resolves when the reader has taken it. */
  token(json: string): Promise<void>;
  progress(progress: { fraction: number; note: string }): void;
  /** What the action logged, in the plugin's words; what is above the rate of the plugin's log is left out. */
  log?(level: LogLevel, text: string): void;
}

export type LogLevel = "debug" | "info" | "warn" | "error";

/** An end to the caller's wait that is none of the cell. */
export interface SoftDeadline {
  readonly wallMs: number;
  /**
   * The action did not end within the grace: its caller is about to be answered without it. `ended` resolves when
   * the cell is rid of it, and never rejects.
   */
  onLeft(ended: Promise<void>): void;
}

export interface CellCall {
  readonly action: string;
  readonly request: string;
  /** UTF-8 of exactly one JSON value. */
  readonly input: Uint8Array;
  /** At its end the action is told, and the cell ended where that does not help. */
  readonly wallMs: number;
  /** Ends the call with a LIMIT_WALL whose `cause` is CANCELLED: it says nothing of the plugin. */
  readonly soft?: SoftDeadline;
  readonly signal: AbortSignal;
  readonly sink?: CallSink;
  readonly job?: CallJob;
  /**
   * From when `signal` aborts: a call that has not ended by then ends its cell, and is CANCELLED. Left out, it may
   * go on to its deadline, which holds in any case.
   */
  readonly cancelGraceMs?: number;
}

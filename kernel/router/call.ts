/**
 * A call of a plugin's action, what comes of it, and the cell that takes it.
 *
 * @module
 */
import type { CallJob } from "../../schemas/cell_protocol.ts";
import type { SupervisedCell } from "../lifecycle/plugin.ts";

/** Receives what a streaming action sends before its result. */
export interface StreamSink {
  /** `json`: the text of exactly one JSON value, already parsed once. Resolve when the reader took it. */
  token(json: string): Promise<void>;
  progress(progress: { fraction: number; note: string }): void;
  /** What the action logs, in the plugin's words; see `CallSink` in `sandbox/`. */
  log?(level: "debug" | "info" | "warn" | "error", text: string): void;
}

export interface Call {
  readonly plugin: string;
  readonly action: string;
  /** The body bytes: UTF-8 text of exactly one JSON value, or empty (then the input is `{}`). */
  readonly input: Uint8Array<ArrayBuffer>;
  readonly actor: string;
  /** Request id. */
  readonly request: string;
  readonly signal: AbortSignal;
  readonly sink?: StreamSink;
  /** It is an attempt of that job, counted from 1. Who refuses it tells the job, and the ledger nothing. */
  readonly job?: CallJob;
  /**
   * With the action's and the plugin's: the smallest wins. Where it is this one, an action that goes on after its
   * grace goes on in its place until its own time is up, and its cell is not ended for the caller's.
   */
  readonly wallMsMax?: number;
  /** What an action that was told of its caller's leaving has left, before its cell is killed. Left out: its deadline. */
  readonly cancelGraceMs?: number;
  /**
   * The plugin may see the input once this has returned; if it throws, the call fails and nobody sees it. `index` is
   * that of `call.accepted`, which is durable. Called once at most: a call that fails before was seen by nobody.
   */
  onAccepted?(index: number): void;
}

/** What a call of an action would meet now. */
export interface CallTerms {
  /** `id@version`, for the ledger. */
  readonly plugin: string;
  /** Calls that may be under way at once: of this action, or where `isPerCall` of the whole plugin, and then 1. */
  readonly concurrency: number;
  readonly isPerCall: boolean;
  readonly isIdempotent: boolean;
  /** The smaller of the action's and the plugin's. */
  readonly wallMs: number;
  readonly retry: { readonly attempts: number; readonly backoffMs: number } | undefined;
}

export interface CallResult {
  /** UTF-8 text of exactly one JSON value. */
  readonly output: Uint8Array<ArrayBuffer>;
  readonly durationMs: number;
  readonly inputSha256: string;
  readonly outputSha256: string;
  readonly ledger: { index: number; size: number };
  /** base64 of the signed note. */
  readonly checkpoint: string;
}

/** A cell that takes calls; `sandbox/` provides it. */
export interface CallableCell extends SupervisedCell {
  readonly cell: SupervisedCell["cell"] & {
    call(call: {
      action: string;
      request: string;
      input: Uint8Array;
      wallMs: number;
      /** See `SoftDeadline` in `sandbox/`. */
      soft?: { wallMs: number; onLeft(ended: Promise<void>): void };
      signal: AbortSignal;
      sink?: StreamSink;
      job?: CallJob;
      cancelGraceMs?: number;
    }): Promise<Uint8Array<ArrayBuffer>>;
  };
}

/**
 * A sink that knows whether its reader was sent anything: then a call cannot be made again unseen. A log is of
 * both attempts, and no part of what the call answers.
 */
export function watched(sink: StreamSink | undefined): { sink?: StreamSink; hasBegun(): boolean } {
  if (sink === undefined) return { hasBegun: () => false };
  let begun = false;
  const { log } = sink;
  return {
    sink: {
      ...(log === undefined ? {} : { log: (level, text) => log.call(sink, level, text) }),
      token: (json) => {
        begun = true;
        return sink.token(json);
      },
      progress: (progress) => {
        begun = true;
        sink.progress(progress);
      },
    },
    hasBegun: () => begun,
  };
}

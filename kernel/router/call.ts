/**
 * A call of a plugin's action, what comes of it, and the cell that takes it.
 *
 * @module
 */
import type { SupervisedCell } from "../lifecycle/plugin.ts";

/** Receives what a streaming action sends before its result. */
export interface StreamSink {
  /** `json`: the text of exactly one JSON value, already parsed once. Resolve when the reader took it. */
  token(json: string): Promise<void>;
  progress(progress: { fraction: number; note: string }): void;
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
      signal: AbortSignal;
      sink?: StreamSink;
    }): Promise<Uint8Array<ArrayBuffer>>;
  };
}

/** A sink that knows whether its reader was sent anything: then a call cannot be made again unseen. */
export function watched(sink: StreamSink | undefined): { sink?: StreamSink; hasBegun(): boolean } {
  if (sink === undefined) return { hasBegun: () => false };
  let begun = false;
  return {
    sink: {
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

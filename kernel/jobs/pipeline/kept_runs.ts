/**
 * Kept runs: the pipeline runs in memory, as many as fit; the one that was used least recently is dropped first.
 *
 * A run that was dropped is made again of what is stored, so this is a cache. Pure.
 *
 * @module
 */
import type { PipelineRun } from "./pipeline_run.ts";

interface Kept {
  readonly run: PipelineRun;
  /** Of its plan and input, parsed, about. */
  readonly bytes: number;
}

/** What a value of a parsed text takes in memory, about. */
const valueBytes = 64;
const [openArray, openObject, comma] = [0x5b, 0x7b, 0x2c];

export class KeptRuns {
  /** Is not dropped: it has read a part of what it needs to go on, and would read that again and again. */
  pinned: number | undefined;
  /** In the order in which they were last used. */
  readonly #kept = new Map<number, Kept>();

  constructor(private readonly bytesMax: number) {}

  get size(): number {
    return this.#kept.size;
  }

  /** Of all, about. */
  get bytes(): number {
    return this.#kept.values().reduce((sum, { run, bytes }) => sum + bytes + run.heldBytes, 0);
  }

  get(pipeline: number): PipelineRun | undefined {
    const kept = this.#kept.get(pipeline);
    if (kept === undefined) return undefined;
    this.#kept.delete(pipeline);
    this.#kept.set(pipeline, kept);
    return kept.run;
  }

  /** `stored`: what it was made of. Gives what it takes in memory, about; others may be dropped for it. */
  set(pipeline: number, run: PipelineRun, stored: Uint8Array): number {
    const bytes = 2 * stored.length + valueBytes * valuesIn(stored);
    this.#kept.set(pipeline, { run, bytes });
    this.trim();
    return bytes;
  }

  delete(pipeline: number): void {
    this.#kept.delete(pipeline);
    if (this.pinned === pipeline) this.pinned = undefined;
  }

  /** Drops what is too much, but never the one that was used last, nor the one that is pinned. */
  trim(): void {
    let { bytes } = this;
    const last = [...this.#kept.keys()].at(-1);
    for (const [pipeline, kept] of this.#kept) {
      if (bytes <= this.bytesMax || pipeline === last) return;
      if (pipeline === this.pinned) continue;
      bytes -= kept.bytes + kept.run.heldBytes;
      this.#kept.delete(pipeline);
    }
  }
}

/** Values in a JSON text in UTF-8, about: what looks like one inside of a string is counted too. */
export function valuesIn(json: Uint8Array): number {
  let values = 1;
  for (const byte of json) if (byte === comma || byte === openArray || byte === openObject) values++;
  return values;
}

/**
 * Step outputs are what steps refer to in the outputs of those before them, read and kept as far as there is room.
 *
 * A plan may refer to as many large outputs as it has steps, from each of its steps. So what a call of
 * `PipelineRun.next` reads is counted, and when that is as much as it may be a {@linkcode ReadsSpentError} ends the
 * call; the parts that were found stay, and the next call goes on from them. What one step refers to is never
 * dropped for itself. Outputs are not kept, nor parsed, but for a list that a map runs over.
 *
 * Pure, but for the reading of outputs.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { PlanNode } from "./compile_plan.ts";
import type { Reference } from "./input_template.ts";
import { findSlices } from "./json_slices.ts";
import { JsonText, UnresolvedError } from "./resolve_input.ts";

export interface PipelineLimits {
  /** Of the inputs of one step, all items of a map together, and of an output that is referred to. */
  readonly inputBytesMax: number;
  /** Of the pipeline's output. */
  readonly outputBytesMax: number;
  /** Of inputs: a call of `next` that has come to this many enqueues no further job. */
  readonly batchBytesMax: number;
}

/** Of one call of `next`. */
export interface CallLimits {
  /** Jobs that it may give; with 0 it says what else there is to do. */
  readonly jobsMax?: number;
  /** What it may cost to read and parse outputs, in rows of a work budget; one output is read in any case. */
  readonly rowsMax?: number;
}

/** The call has read what it may; the next goes on. */
export class ReadsSpentError extends Error {
  override name = "ReadsSpentError";
}

export type StepReference = Extract<Reference, { readonly from: "step" }>;

/** To read so much costs as much as to change a row, about; to parse it, or to make it of parts. */
const readBytesPerRow = 8_192;
const parsedBytesPerRow = 1_024;
const madeBytesPerRow = 65_536;
/** Of what is kept of a part, beside its text. */
const partBytes = 256;

interface Part {
  readonly json: JsonText | undefined;
  readonly bytes: number;
}

export class StepOutputs {
  /** By step and path, in the order in which they were last used. */
  readonly #parts = new Map<string, Part>();
  #bytes = 0;
  #rows = 0;
  #rowsMax = Infinity;
  /** The last that was parsed in this call. */
  #list: { readonly key: string; readonly value: unknown } | undefined;

  /** `bytesMax`: of what is kept, if one step does not need more; no step may need four times that. */
  constructor(
    private readonly read: (step: string) => { readonly text: string; readonly reads: number },
    private readonly bytesMax: number,
  ) {}

  /** Of what is kept. */
  get bytes(): number {
    return this.#bytes;
  }

  /** What this call has cost, in rows of a work budget. */
  get rows(): number {
    return this.#rows;
  }

  get isSpent(): boolean {
    return this.#rows > 0 && this.#rows >= this.#rowsMax;
  }

  /** A call begins. */
  begin(rowsMax: number): void {
    [this.#rows, this.#rowsMax] = [0, rowsMax];
  }

  /** A call is over. `isLast`: nothing that is kept is needed soon. */
  end(isLast: boolean): void {
    this.#list = undefined;
    if (!isLast) return;
    this.#parts.clear();
    this.#bytes = 0;
  }

  /** The inputs of jobs were made. */
  made(bytes: number): void {
    this.#rows += bytes / madeBytesPerRow;
  }

  /** Outputs were read whole. */
  readWhole(bytes: number, reads: number): void {
    this.#rows += reads + bytes / readBytesPerRow;
  }

  /** All that one step refers to. Throws ReadsSpentError, and UnresolvedError where it is too much. */
  load(references: Iterable<Reference>): void {
    const own = new Set<string>();
    const missing = new Map<string, Set<string>>();
    let ownBytes = 0;
    for (const reference of references) {
      if (reference.from !== "step") continue;
      const key = keyOf(reference);
      const part = this.#parts.get(key);
      if (part === undefined) {
        missing.getOrInsertComputed(reference.step, () => new Set()).add(reference.path);
      } else if (!own.has(key)) {
        this.#parts.delete(key);
        this.#parts.set(key, part);
        ownBytes += part.bytes;
      }
      own.add(key);
    }
    for (const [step, paths] of missing) {
      for (const [path, json] of this.#find(step, paths)) {
        const part = { json, bytes: partBytes + (json?.bytes ?? 0) };
        this.#parts.set(keyOf({ step, path }), part);
        this.#bytes += part.bytes;
        ownBytes += part.bytes - partBytes;
      }
      if (ownBytes > 4 * this.bytesMax) {
        throw new UnresolvedError(`what it refers to is larger than ${4 * this.bytesMax} bytes`);
      }
      this.#trim(own);
    }
  }

  /** Of what was loaded; undefined: the path leads nowhere. */
  at(reference: { readonly step: string; readonly path: string }): JsonText | undefined {
    const part = this.#parts.get(keyOf(reference));
    if (part === undefined) {
      throw new TypeError(`Cannot read the output of "${reference.step}": it was not loaded`);
    }
    return part.json;
  }

  /** The same, parsed; throws ReadsSpentError. */
  valueAt(reference: StepReference, json: JsonText): unknown {
    const key = keyOf(reference);
    if (this.#list?.key !== key) {
      this.#charge(json.bytes / parsedBytesPerRow);
      // Not by the part, which would keep it.
      this.#list = { key, value: JSON.parse(json.text) };
    }
    return this.#list.value;
  }

  *#find(step: string, paths: ReadonlySet<string>): Iterable<[path: string, json: JsonText | undefined]> {
    this.#charge(0);
    const { text, reads } = this.read(step);
    this.readWhole(Buffer.byteLength(text), reads);
    const isWhole = paths.size === 1 && paths.has("");
    const slices = isWhole ? new Map([["", text]]) : findSlices(text, paths);
    for (const path of paths) {
      const slice = slices.get(path);
      // A copy: else a part of a few bytes would keep the whole text in memory.
      yield [
        path,
        slice === undefined ? undefined : JsonText.ofText(isWhole ? slice : Buffer.from(slice).toString()),
      ];
    }
  }

  #charge(rows: number): void {
    if (this.isSpent) throw new ReadsSpentError("Cannot read more outputs: the call has read what it may");
    this.#rows += rows;
  }

  #trim(own: ReadonlySet<string>): void {
    for (const [key, { bytes }] of this.#parts) {
      if (this.#bytes <= this.bytesMax || own.has(key)) return;
      this.#parts.delete(key);
      this.#bytes -= bytes;
    }
  }
}

function keyOf({ step, path }: { readonly step: string; readonly path: string }): string {
  return `${step}\n${path}`;
}

/** In the inputs of its jobs, and in what it runs over. */
export function* referencesOf({ input, map = [] }: PlanNode): Iterable<Reference> {
  const templates = "from" in map ? [[map], input] : [...map, input];
  for (const part of templates.flat()) if (typeof part !== "string") yield part;
}

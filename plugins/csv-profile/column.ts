/**
 * A column's profile: what its values have in common, gathered in one pass.
 *
 * Invariants:
 * - memory is bounded: all columns of a profile share one {@linkcode Budget}, and what no longer fits is
 *   reported as a lower bound or as unknown, never guessed;
 * - mean and deviation are Welford's, which stay exact where a sum of squares cancels itself out.
 *
 * Pure, apart from the budget that columns share.
 *
 * @module
 */
import { type Kind, kinds, ValueReader } from "./value.ts";

/** Distinct values kept for one column. */
export const distinctMax = 10_000;

/** A value longer than this is counted, but not compared with others. */
export const comparedLengthMax = 256;

/** How many of the most frequent values are reported. */
const topMax = 5;

/** What all columns of one profile may keep together. */
export interface Budget {
  distinctValues: number;
  distinctCharacters: number;
  medianValues: number;
}

/** About 40 MB at most. */
export function createBudget(): Budget {
  return { distinctValues: 200_000, distinctCharacters: 4_194_304, medianValues: 2_000_000 };
}

export type ColumnType = Kind | "empty";

export interface ColumnReport {
  name: string;
  type: ColumnType;
  kinds: Partial<Record<Kind, number>>;
  count: number;
  missing: number;
  distinct: number;
  distinctExact: boolean;
  min?: number | string;
  max?: number | string;
  mean?: number | null;
  standardDeviation?: number | null;
  median?: number | null;
  minLength?: number;
  maxLength?: number;
  top?: { value: string; count: number }[];
}

export class ColumnProfile {
  readonly #name: string;
  readonly #kindCounts: Record<Kind, number> = {
    integer: 0,
    number: 0,
    boolean: 0,
    date: 0,
    datetime: 0,
    string: 0,
  };
  readonly #distinct: DistinctValues;
  readonly #numbers: NumberSummary;
  readonly #instants = new InstantRange();
  readonly #value = new ValueReader();
  #count = 0;
  #missing = 0;
  #minLength = Infinity;
  #maxLength = 0;

  constructor(name: string, budget: Budget) {
    this.#name = name;
    this.#distinct = new DistinctValues(budget);
    this.#numbers = new NumberSummary(budget);
  }

  /** Takes the field of the next row; `undefined` is a field that the row lacks. */
  add(field: string | undefined): void {
    const text = field?.trim() ?? "";
    if (text === "") {
      this.#missing++;
      return;
    }
    this.#count++;
    if (text.length < this.#minLength) this.#minLength = text.length;
    if (text.length > this.#maxLength) this.#maxLength = text.length;
    this.#value.read(text);
    const { kind, number } = this.#value;
    this.#kindCounts[kind]++;
    this.#distinct.add(text);
    // No top values are reported of numbers and instants: once they no longer all fit, why keep any.
    if (!this.#distinct.exact && this.#kindCounts.string === 0) this.#distinct.drop();
    if (kind === "integer" || kind === "number") this.#numbers.add(number);
    else if (kind === "date" || kind === "datetime") this.#instants.add(number, text);
  }

  report(): ColumnReport {
    const type = this.#type();
    return {
      name: this.#name,
      type,
      kinds: Object.fromEntries(
        kinds.filter((kind) => this.#kindCounts[kind] > 0).map((kind) => [kind, this.#kindCounts[kind]]),
      ),
      count: this.#count,
      missing: this.#missing,
      distinct: this.#distinct.size,
      distinctExact: this.#distinct.exact,
      ...(type === "integer" || type === "number" ? this.#numbers.report() : {}),
      ...(type === "date" || type === "datetime" ? this.#instants.report() : {}),
      ...(type === "string" ? { minLength: this.#minLength, maxLength: this.#maxLength } : {}),
      ...(type === "string" || type === "boolean" ? { top: this.#distinct.top() } : {}),
    };
  }

  /** The narrowest type that holds every value. */
  #type(): ColumnType {
    const { integer, number, boolean, date, datetime } = this.#kindCounts;
    if (this.#count === 0) return "empty";
    if (integer === this.#count) return "integer";
    if (integer + number === this.#count) return "number";
    if (boolean === this.#count) return "boolean";
    if (date === this.#count) return "date";
    if (date + datetime === this.#count) return "datetime";
    return "string";
  }
}

/** Counts of values. A value, once kept, is counted for good, so the counts of kept values are exact. */
class DistinctValues {
  /** Whether every value is kept. */
  exact = true;
  /** How many different values are known to exist. */
  size = 0;
  readonly #budget: Budget;
  #counts: Map<string, { count: number }> | null = new Map();
  #characters = 0;

  constructor(budget: Budget) {
    this.#budget = budget;
  }

  add(text: string): void {
    if (this.#counts === null) return;
    const kept = this.#counts.get(text);
    if (kept !== undefined) kept.count++;
    else if (this.#mayKeep(text)) {
      this.size++;
      this.#characters += text.length;
      this.#budget.distinctValues--;
      this.#budget.distinctCharacters -= text.length;
      this.#counts.set(detach(text), { count: 1 });
    } else this.exact = false;
  }

  #mayKeep(text: string): boolean {
    return text.length <= comparedLengthMax && this.size < distinctMax && this.#budget.distinctValues > 0 &&
      this.#budget.distinctCharacters >= text.length;
  }

  /** Stops counting and gives back what it held; `size` stays as a lower bound. */
  drop(): void {
    if (this.#counts === null) return;
    this.#counts = null;
    this.#budget.distinctValues += this.size;
    this.#budget.distinctCharacters += this.#characters;
  }

  /** The most frequent kept values, among equals the first seen first; none after {@linkcode drop}. */
  top(): { value: string; count: number }[] {
    return [...this.#counts ?? []]
      .map(([value, { count }]) => ({ value, count }))
      .toSorted((a, b) => b.count - a.count)
      .slice(0, topMax);
  }
}

/** A copy of `text` that does not keep alive the chunk it was cut from: V8 shares from 13 characters on. */
function detach(text: string): string {
  return text.length < 13 ? text : text.split("").join("");
}

/** Minimum, maximum, mean, deviation and, while the budget lasts, median. */
class NumberSummary {
  readonly #budget: Budget;
  #count = 0;
  #min = Infinity;
  #max = -Infinity;
  #mean = 0;
  #squares = 0;
  #values: Float64Array<ArrayBuffer> | null = new Float64Array(0);

  constructor(budget: Budget) {
    this.#budget = budget;
  }

  add(value: number): void {
    this.#keep(value);
    this.#count++;
    if (value < this.#min) this.#min = value;
    if (value > this.#max) this.#max = value;
    const delta = value - this.#mean;
    this.#mean += delta / this.#count;
    this.#squares += delta * (value - this.#mean);
  }

  #keep(value: number): void {
    if (this.#values === null) return;
    if (this.#count === this.#values.length) {
      const grow = Math.max(16, this.#values.length);
      if (grow > this.#budget.medianValues) {
        this.#budget.medianValues += this.#values.length;
        this.#values = null;
        return;
      }
      this.#budget.medianValues -= grow;
      const grown = new Float64Array(this.#values.length + grow);
      grown.set(this.#values);
      this.#values = grown;
    }
    this.#values[this.#count] = value;
  }

  report(): Pick<ColumnReport, "min" | "max" | "mean" | "standardDeviation" | "median"> {
    return {
      min: this.#min,
      max: this.#max,
      mean: finite(this.#mean),
      standardDeviation: this.#count < 2 ? null : finite(Math.sqrt(this.#squares / (this.#count - 1))),
      median: this.#values === null ? null : median(this.#values.subarray(0, this.#count)),
    };
  }
}

/** JSON has no infinity: what overflows a double on the way is unknown. */
function finite(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}

/** Sorts `values` in place. There is at least one. */
function median(values: Float64Array): number | null {
  values.sort();
  const upper = values[values.length >> 1] ?? 0;
  const lower = values[(values.length - 1) >> 1] ?? 0;
  return finite(lower / 2 + upper / 2);
}

/** The first and the last instant, in the words of the column. */
class InstantRange {
  #min = { atMs: Infinity, text: "" };
  #max = { atMs: -Infinity, text: "" };

  add(atMs: number, text: string): void {
    if (atMs < this.#min.atMs) this.#min = { atMs, text };
    if (atMs > this.#max.atMs) this.#max = { atMs, text };
  }

  report(): { min: string; max: string } {
    return { min: this.#min.text, max: this.#max.text };
  }
}

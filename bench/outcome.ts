/**
 * An outcome is what a bench found: named figures, and the same as a table for people.
 *
 * @module
 */

export interface Outcome {
  /** What was repeated, and how often. */
  readonly iterations: Readonly<Record<string, number>>;
  /** Names end in their unit; `null` where it could not be measured here, and `notes` say why. */
  readonly figures: Readonly<Record<string, number | null>>;
  /** The first row is the head. */
  readonly table: readonly (readonly string[])[];
  readonly notes: readonly string[];
}

/** A bench ends by itself, listens on loopback only, and ends what it started. */
export type Bench = () => Promise<Outcome>;

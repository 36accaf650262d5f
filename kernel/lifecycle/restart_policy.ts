/**
 * The restart policy: what becomes of a plugin whose cell ended although nobody asked for it, or did not start.
 *
 * Such an end is a **failure**. Failures within the manifest's window are counted; when there are as many as
 * `restart.max` (at least one), the plugin is given up and quarantined. Before that the kernel starts it again
 * after a pause, or leaves it to an operator where the manifest says `never`. `on-failure` and `always` are the
 * same here: a cell that ends by itself has failed, whatever its exit code.
 *
 * The pause doubles with each failure in a row, whatever the window: a manifest is the plugin's word, and must
 * not be able to ask for a crash loop without a pause. A cell that lived as long as the longest pause ends the
 * row.
 *
 * A fault that is Airlock's own has its pause, and is not counted.
 *
 * With `--dev` nobody is quarantined, because a file that is being written is broken again and again: the pause
 * stays the shortest, and in place of a quarantine the plugin rests until its next call.
 *
 * Invariant: as many failures are remembered as make a quarantine, and no more.
 *
 * Pure.
 *
 * @module
 */
import type { Config } from "../../schemas/config.ts";
import type { Manifest } from "../../schemas/manifest.ts";

/** What the operator's configuration says of it. */
export type RestartTerms =
  & Pick<Config, "dev">
  & { readonly cells: Pick<Config["cells"], "restartBackoffMs" | "restartBackoffMaxMs"> };

export type Verdict =
  /** The kernel starts it after a pause; calls wait for that. */
  | { readonly kind: "restart"; readonly afterMs: number }
  /** An operator starts it; calls are refused. */
  | { readonly kind: "operator" }
  /** The next call starts it. */
  | { readonly kind: "call" }
  | { readonly kind: "quarantine"; readonly failures: number };

export interface Failure {
  /** Never goes back. */
  readonly nowMs: number;
  /** How long its cell had lived; 0 where none started. */
  readonly livedMs: number;
  /** Airlock's own fault. */
  readonly isOurs: boolean;
  /** From 0 to 1. */
  readonly random: number;
}

/** The failures of one plugin. */
export class Failures {
  #atMs: number[] = [];
  #inARow = 0;

  /** Takes note of one, and says what to do. */
  judge(
    { policy, max, windowMs }: Manifest["restart"],
    terms: RestartTerms,
    { nowMs, livedMs, isOurs, random }: Failure,
  ): Verdict {
    this.#inARow = livedMs >= terms.cells.restartBackoffMaxMs ? 1 : this.#inARow + 1;
    const restart = {
      kind: "restart",
      afterMs: backoffMs(terms.dev ? 1 : this.#inARow, terms, random),
    } as const;
    if (isOurs) return policy === "never" ? { kind: "call" } : restart;
    const failuresMax = Math.max(1, max);
    this.#atMs = [...this.#atMs.filter((atMs) => nowMs - atMs < windowMs), nowMs].slice(-failuresMax);
    const failures = this.#atMs.length;
    if (failures >= failuresMax) return terms.dev ? { kind: "call" } : { kind: "quarantine", failures };
    return policy === "never" ? { kind: "operator" } : restart;
  }

  forget(): void {
    this.#atMs = [];
    this.#inARow = 0;
  }
}

/** The pause after so many failures in a row, between half and all of it, so that many do not start as one. */
export function backoffMs(failures: number, { cells }: RestartTerms, random: number): number {
  const fullMs = Math.min(cells.restartBackoffMaxMs, cells.restartBackoffMs * 2 ** (failures - 1));
  return Math.round(fullMs * (0.5 + random / 2));
}

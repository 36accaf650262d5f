/**
 * A work budget says how much one transaction may still do, in rows that it changes or looks at.
 *
 * What one request, or one end of a job, leads to may be as much as there are jobs. All that follows from a change
 * takes from one budget, and what is left when it is spent is done in the next transaction; so no commit holds the
 * kernel for long, nor tells more at once than the feed keeps.
 *
 * @module
 */

/** Of the changes that are asked for, and again of what follows from them. */
export const rowsPerCommit = 1_000;

export class WorkBudget {
  #left = rowsPerCommit;

  /** Below 0 after work that could not be divided. */
  get left(): number {
    return this.#left;
  }

  get isSpent(): boolean {
    return this.#left <= 0;
  }

  spend(rows = 1): void {
    this.#left -= rows;
  }

  renew(): void {
    this.#left = rowsPerCommit;
  }
}

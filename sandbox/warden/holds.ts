/**
 * Why a cell stands still, and for how long it has. Pure.
 *
 * @module
 */

/** By an operator's order, for what it wrote to disks, or until its turn on the CPU. */
export type Hold = "order" | "disk" | "turn";

export class Holds {
  /** Since when each holds it. */
  readonly #sinceMs = new Map<Hold, number>();
  readonly #endedMs: Record<Hold, number> = { order: 0, disk: 0, turn: 0 };
  #stoppedAtMs = 0;
  #stillMs = 0;

  get isEmpty(): boolean {
    return this.#sinceMs.size === 0;
  }

  has(hold: Hold): boolean {
    return this.#sinceMs.has(hold);
  }

  add(hold: Hold, nowMs: number): void {
    if (this.isEmpty) this.#stoppedAtMs = nowMs;
    if (!this.has(hold)) this.#sinceMs.set(hold, nowMs);
  }

  /** Whether that was the last one. */
  delete(hold: Hold, nowMs: number): boolean {
    const sinceMs = this.#sinceMs.get(hold);
    if (sinceMs === undefined) return false;
    this.#endedMs[hold] += nowMs - sinceMs;
    this.#sinceMs.delete(hold);
    if (!this.isEmpty) return false;
    this.#stillMs += nowMs - this.#stoppedAtMs;
    return true;
  }

  /** In all, for whatever reason. */
  stillMs(nowMs: number): number {
    return this.#stillMs + (this.isEmpty ? 0 : nowMs - this.#stoppedAtMs);
  }

  /** In all, for this reason. */
  heldMs(hold: Hold, nowMs: number): number {
    return this.#endedMs[hold] + nowMs - (this.#sinceMs.get(hold) ?? nowMs);
  }
}

/**
 * A progress meter: a bar on stderr, for work that takes longer than a reader waits in silence.
 *
 * It is drawn only on a terminal and only for many entries, a few times a second, and leaves nothing behind.
 *
 * @module
 */
import type { Output } from "./output.ts";

/** Fewer are done before anyone looks. */
export const entriesMin = 50_000;
const cells = 24;
const pauseMs = 100;

export class ProgressMeter {
  readonly #output: Pick<Output, "draw" | "isDrawable">;
  readonly #nowMs: () => number;
  readonly #startedMs: number;
  #drawnMs = -Infinity;
  /** In order, and awaited by `clear`. */
  #drawing: Promise<void> = Promise.resolve();

  constructor(output: Pick<Output, "draw" | "isDrawable">, nowMs: () => number) {
    this.#output = output;
    this.#nowMs = nowMs;
    this.#startedMs = nowMs();
  }

  /** `done` of `total` entries are done. */
  update(done: number, total: number): void {
    const nowMs = this.#nowMs();
    if (!this.#output.isDrawable || total <= entriesMin || nowMs - this.#drawnMs < pauseMs) return;
    this.#drawnMs = nowMs;
    const part = Math.min(1, done / total);
    const bar = "#".repeat(Math.floor(part * cells)).padEnd(cells, ".");
    const perSecond = Math.round(done / Math.max(0.001, (nowMs - this.#startedMs) / 1_000));
    const count = (entries: number) => entries.toLocaleString("en");
    const text = `[${bar}] ${Math.floor(part * 100)} %  ${count(done)} of ${count(total)} entries, ` +
      `${count(perSecond)} a second`;
    this.#draw(`\r${text}\x1b[K`);
  }

  /** Takes it off the terminal. */
  async clear(): Promise<void> {
    if (this.#drawnMs !== -Infinity) this.#draw("\r\x1b[K");
    await this.#drawing;
  }

  #draw(text: string): void {
    this.#drawing = this.#drawing.then(() => this.#output.draw(text));
  }
}

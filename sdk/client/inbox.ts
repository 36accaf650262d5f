/**
 * An inbox: what came for one reader and was not read yet.
 *
 * It never refuses: its owner looks at `isFull` and does what suits what is read, which is why the limits are passed
 * by at most one item. One reader at a time.
 *
 * @module
 */

export interface InboxLimits {
  readonly bufferItemsMax: number;
  /** Characters of the frames that they came in. */
  readonly bufferCharsMax: number;
}

export class Inbox<T> {
  #items: { readonly item: T; readonly chars: number }[] = [];
  /** Where the oldest one stands: shifting an array costs its length. */
  #first = 0;
  #chars = 0;
  #end: { readonly error: unknown } | "closed" | undefined;
  #wake: (() => void) | undefined;

  constructor(readonly limits: InboxLimits) {}

  get size(): number {
    return this.#items.length - this.#first;
  }

  get isFull(): boolean {
    return this.size >= this.limits.bufferItemsMax || this.#chars >= this.limits.bufferCharsMax;
  }

  push(item: T, chars: number): void {
    if (this.#end !== undefined) return;
    this.#items.push({ item, chars });
    this.#chars += chars;
    this.#notify();
  }

  /** What is in it can still be read. */
  close(): void {
    this.#end ??= "closed";
    this.#notify();
  }

  /** Likewise, and then reading throws. */
  fail(error: unknown): void {
    this.#end ??= { error };
    this.#notify();
  }

  /** Throws what is in it away: for a reader that went, or whose signal aborted. */
  abort(error: unknown): void {
    this.#items = [];
    this.#first = this.#chars = 0;
    this.#end = { error };
    this.#notify();
  }

  /** The oldest one; undefined after the last. Rejects with what it failed of. */
  async take(): Promise<{ readonly item: T } | undefined> {
    while (this.size === 0 && this.#end === undefined) {
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
    const next = this.#items[this.#first];
    if (next === undefined) {
      if (this.#end === "closed" || this.#end === undefined) return undefined;
      throw this.#end.error;
    }
    this.#first++;
    this.#chars -= next.chars;
    if (this.#first === this.#items.length || this.#first > 1_024) {
      this.#items = this.#items.slice(this.#first);
      this.#first = 0;
    }
    return next;
  }

  #notify(): void {
    this.#wake?.();
    this.#wake = undefined;
  }
}

/**
 * The reading room bounds the bytes of packages that are in memory at once, while many packages are read.
 *
 * First come, first served, so that a large one is not passed by for ever. One that is larger than the room enters
 * when it is alone: how large a package may be is for others to say.
 *
 * Pure of I/O.
 *
 * @module
 */

interface Waiting {
  readonly bytes: number;
  readonly enter: (leave: Disposable) => void;
}

export class ReadingRoom {
  readonly #waiting: Waiting[] = [];
  #readers = 0;
  #bytes = 0;

  constructor(private readonly bytesMax: number) {}

  /** Resolves when there is room for so many bytes; whoever entered leaves by disposing. */
  enter(bytes: number): Promise<Disposable> {
    return new Promise((enter) => {
      this.#waiting.push({ bytes, enter });
      this.#admit();
    });
  }

  #admit(): void {
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      const { bytes, enter } = next;
      if (this.#readers > 0 && this.#bytes + bytes > this.bytesMax) return;
      this.#waiting.shift();
      this.#readers++;
      this.#bytes += bytes;
      enter({ [Symbol.dispose]: () => this.#leave(bytes) });
    }
  }

  #leave(bytes: number): void {
    this.#readers--;
    this.#bytes -= bytes;
    this.#admit();
  }
}

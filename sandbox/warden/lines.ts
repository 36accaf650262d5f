/**
 * Messages as lines of JSON over a pipe, bounded and parsed at the receiving end.
 *
 * @module
 */
import type { z } from "zod";

/** Yields each message that fits `schema`. Throws at the first line that is too long or does not fit. */
export async function* readMessages<T>(
  stream: ReadableStream<Uint8Array>,
  schema: z.ZodType<T>,
  lineBytesMax: number,
): AsyncGenerator<T> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let pending = "";
  for await (const chunk of stream) {
    pending += decoder.decode(chunk, { stream: true });
    for (let end = pending.indexOf("\n"); end >= 0; end = pending.indexOf("\n")) {
      yield schema.parse(JSON.parse(pending.slice(0, end)));
      pending = pending.slice(end + 1);
    }
    if (pending.length > lineBytesMax) {
      throw new RangeError(`Cannot read a message: its line is above ${lineBytesMax} bytes`);
    }
  }
}

/** Writes messages in order; what is written after the pipe broke is dropped, for its reader is gone. */
export class MessageWriter<T> {
  readonly #encoder = new TextEncoder();
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  #last: Promise<void> = Promise.resolve();

  constructor(stream: WritableStream<Uint8Array>) {
    this.#writer = stream.getWriter();
  }

  write(message: T): void {
    this.#last = this.#writer.write(this.#encoder.encode(`${JSON.stringify(message)}\n`)).catch(() => {});
  }

  /** Resolves when what was written so far has left. */
  async flush(): Promise<void> {
    await this.#last;
  }

  /** Gives the descriptor back: a pipe whose reader is gone stays open until it is closed, or written to. */
  async close(): Promise<void> {
    await this.#writer.close().catch(() => {}); // a write that failed has closed it
  }
}

/**
 * A line writer hands lines to a slow reader, such as stderr, without ever making its caller wait.
 *
 * Lines wait in memory while one write is under way. When `bytesMax` of them wait, the newest are dropped and
 * counted, and a line that says how many takes their place as soon as there is room: a terminal that was
 * stopped with Ctrl-S must not stop the kernel, nor fill its memory.
 *
 * @module
 */

export interface LineWriter {
  /** Never blocks, never throws. The line includes its newline. */
  write(line: string): void;
  /** Resolves when all is written, or after `timeoutMs`; true: all is written. */
  flush(options: { timeoutMs: number }): Promise<boolean>;
}

export interface LineWriterOptions {
  /** May write less than it is given, and says how much; such as `Deno.stderr`. */
  readonly sink: { write(bytes: Uint8Array): Promise<number> };
  /** Bytes that may wait. */
  readonly bytesMax: number;
  /** The line that stands for `count` dropped ones. */
  readonly formatDropped: (count: number) => string;
}

export function createLineWriter({ sink, bytesMax, formatDropped }: LineWriterOptions): LineWriter {
  const encoder = new TextEncoder();
  let waiting: Uint8Array[] = [];
  let waitingBytes = 0;
  let dropped = 0;
  let state: "idle" | "writing" | "broken" = "idle";
  let written: Promise<void> = Promise.resolve();

  async function pump(): Promise<void> {
    try {
      while (waitingBytes > 0 || dropped > 0) {
        const lines = waiting;
        if (dropped > 0) lines.push(encoder.encode(formatDropped(dropped)));
        [waiting, waitingBytes, dropped] = [[], 0, 0];
        for (const line of lines) {
          for (let done = 0; done < line.length;) done += await sink.write(line.subarray(done));
        }
      }
      state = "idle";
    } catch {
      // The reader is gone, and with it the only place where this could be told.
      state = "broken";
      [waiting, waitingBytes] = [[], 0];
    }
  }

  return {
    write(line) {
      if (state === "broken") return;
      const bytes = encoder.encode(line);
      if (waitingBytes + bytes.length > bytesMax) {
        dropped++;
      } else {
        waiting.push(bytes);
        waitingBytes += bytes.length;
      }
      if (state === "writing") return;
      state = "writing";
      written = pump();
    },
    async flush({ timeoutMs }) {
      const { promise: timedOut, resolve } = Promise.withResolvers<void>();
      const timer = setTimeout(resolve, timeoutMs);
      await Promise.race([written, timedOut]);
      clearTimeout(timer);
      return state === "idle";
    },
  };
}

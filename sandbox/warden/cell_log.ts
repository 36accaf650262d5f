/**
 * The log of a cell: what it writes to stdout and stderr, at the rate that it may.
 *
 * A plugin that writes more waits in its own write, and costs the warden nothing; so does one whose kernel is
 * busy. What is left when the process has ended is dropped.
 *
 * @module
 */

const chunkBytes = 8_192;

export interface CellLogOptions {
  readonly bytesPerSecond: number;
  readonly ended: Promise<unknown>;
  report(text: string): void;
  /** Resolves when what was reported so far was taken. */
  flushed(): Promise<void>;
}

/** Reads until the stream or the cell ends. */
export async function readCellLog(
  stream: ReadableStream<Uint8Array>,
  { bytesPerSecond, ended, report, flushed }: CellLogOptions,
): Promise<void> {
  const reader = stream.getReader({ mode: "byob" });
  const over = ended.then(() => "ended" as const);
  const decoder = new TextDecoder();
  let buffer = new ArrayBuffer(chunkBytes);
  for (;;) {
    const { value, done } = await reader.read(new Uint8Array(buffer));
    if (done || value === undefined) return;
    report(decoder.decode(value, { stream: true }));
    await Promise.race([flushed(), over]);
    buffer = value.buffer;
    const pauseMs = value.length / Math.max(1, bytesPerSecond) * 1_000;
    if (pauseMs >= 1 && await pause(pauseMs, over) === "ended") return await reader.cancel();
  }
}

async function pause<T>(ms: number, orUntil: Promise<T>): Promise<T | undefined> {
  const { promise, resolve } = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => resolve(undefined), ms);
  try {
    return await Promise.race([promise, orUntil]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * The log of a cell: what it writes to stdout and stderr, at the rate that it may.
 *
 * A plugin that writes more waits in its own write, and costs the warden nothing; so does one whose kernel is
 * busy. Of what is left when the process has ended a little is read, and the rest dropped.
 *
 * @module
 */

const chunkBytes = 8_192;
const pauseMsMin = 20;
/** What a cell said last, its cause of death most likely, is read after its end. */
const lastWordsMs = 200;
const lastBytesMax = 65_536;

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
  const decoder = new TextDecoder();
  let buffer = new ArrayBuffer(chunkBytes);
  let wake = () => {};
  let isOver = false;
  let lastBytes = 0;
  // One reaction for the whole life: raced anew at each read, they would pile up until the end.
  void ended.then(() => {
    isOver = true;
    wake();
    // A process that outlives its cell may hold the other end for ever.
    const timer = setTimeout(() => void reader.cancel(), lastWordsMs);
    void reader.closed.finally(() => clearTimeout(timer)).catch(() => {});
  });
  while (lastBytes < lastBytesMax) {
    const { value, done } = await reader.read(new Uint8Array(buffer));
    if (done || value === undefined) return;
    report(decoder.decode(value, { stream: true }));
    if (isOver) lastBytes += value.length;
    await flushed();
    buffer = value.buffer;
    // What is written a byte at a time is read as seldom as what is written in large pieces.
    const pauseMs = Math.max(pauseMsMin, value.length / Math.max(1, bytesPerSecond) * 1_000);
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, pauseMs);
    wake = resolve;
    if (!isOver) await promise;
    clearTimeout(timer);
  }
  await reader.cancel();
}

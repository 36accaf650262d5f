/**
 * The sending half of a cell's socket: frames queued while a write is under way leave in one write.
 *
 * Bounded: past `queueBytesMax` {@linkcode FrameWriter.isFull} is true and the caller must hold back; past
 * twice that the peer is not reading and the connection is given up.
 *
 * @module
 */
import { encodeFrame, FrameError } from "./frame.ts";

export interface ByteSink {
  /** May write less than it was given. */
  write(bytes: Uint8Array): Promise<number>;
}

export class FrameWriter {
  #queue: Uint8Array[] = [];
  #queuedBytes = 0;
  #closed = false;
  #writing: Promise<void> | undefined;
  #drained: PromiseWithResolvers<void> | undefined;

  constructor(
    private readonly sink: ByteSink,
    private readonly options: {
      frameBytesMax: number;
      queueBytesMax: number;
      onError(error: Error): void;
    },
  ) {}

  get isFull(): boolean {
    return this.#queuedBytes > this.options.queueBytesMax;
  }

  /** Queues a frame. Throws {@linkcode FrameError} when it is too large; after `close` it is dropped. */
  send(envelope: unknown, body?: Uint8Array): void {
    if (this.#closed) return;
    const frame = encodeFrame(envelope, body, this.options.frameBytesMax);
    this.#queue.push(frame);
    this.#queuedBytes += frame.length;
    if (this.#queuedBytes > 2 * this.options.queueBytesMax + this.options.frameBytesMax) {
      this.#fail(
        new FrameError(`Cannot send a frame: ${this.#queuedBytes} bytes wait for a peer that does not read`),
      );
      return;
    }
    this.#writing ??= this.#run();
  }

  /** Resolves when the queue has room again. */
  room(): Promise<void> {
    if (!this.isFull || this.#closed) return Promise.resolve();
    this.#drained ??= Promise.withResolvers<void>();
    return this.#drained.promise;
  }

  /** Resolves when everything queued so far was written, or the connection failed. */
  async flush(): Promise<void> {
    await this.#writing;
  }

  close(): void {
    this.#closed = true;
    this.#queue = [];
    this.#queuedBytes = 0;
    this.#drained?.resolve();
  }

  async #run(): Promise<void> {
    try {
      // Lets everything that is sent in this turn of the event loop join the first write.
      await Promise.resolve();
      while (this.#queue.length > 0) {
        const batch = joined(this.#queue, this.#queuedBytes);
        this.#queue = [];
        this.#queuedBytes = 0;
        for (let at = 0; at < batch.length;) at += await this.sink.write(batch.subarray(at));
        if (!this.isFull) {
          this.#drained?.resolve();
          this.#drained = undefined;
        }
      }
    } catch (error) {
      this.#fail(error instanceof Error ? error : new Error(String(error)));
    } finally {
      this.#writing = undefined;
    }
  }

  #fail(error: Error): void {
    if (this.#closed) return;
    this.close();
    this.options.onError(error);
  }
}

function joined(parts: Uint8Array[], bytes: number): Uint8Array {
  const [first] = parts;
  if (parts.length === 1 && first !== undefined) return first;
  const whole = new Uint8Array(bytes);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

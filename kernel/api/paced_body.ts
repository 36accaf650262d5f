/**
 * A paced body: the body of an answer that is made while its reader takes it, one chunk at a time.
 *
 * Invariants:
 * - the next chunk is asked for only when the one before was taken;
 * - a reader who takes none within `takeTimeoutMs` loses the rest: the stream fails, which ends its connection;
 * - `ended` is called once, whichever way it ends, also when the body was never read.
 *
 * @module
 */

export interface PacedBodyOptions {
  readonly takeTimeoutMs: number;
  ended(): void;
}

export function createPacedBody(
  chunks: AsyncIterable<Uint8Array<ArrayBuffer>>,
  { takeTimeoutMs, ended }: PacedBodyOptions,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  const source = chunks[Symbol.asyncIterator]();
  let state: "open" | "ended" = "open";
  let timer: ReturnType<typeof setTimeout> | undefined;

  function end(): void {
    clearTimeout(timer);
    if (state === "ended") return;
    state = "ended";
    ended();
  }

  function awaitReader(controller: ReadableStreamDefaultController): void {
    // Deno's server cancels from within `enqueue` when its connection is lost.
    if (state === "ended") return;
    timer = setTimeout(() => {
      end();
      controller.error(new Error(`Cannot go on with an answer: nobody took it for ${takeTimeoutMs} ms`));
      void source.return?.();
    }, takeTimeoutMs);
  }

  return new ReadableStream<Uint8Array<ArrayBuffer>>({
    start: awaitReader,
    async pull(controller) {
      clearTimeout(timer);
      try {
        const { done, value } = await source.next();
        if (state === "ended") return;
        if (done) {
          end();
          return controller.close();
        }
        controller.enqueue(value);
        awaitReader(controller);
      } catch (error) {
        end();
        throw error;
      }
    },
    async cancel() {
      end();
      await source.return?.();
    },
  }, { highWaterMark: 0 });
}

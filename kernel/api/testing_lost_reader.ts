/**
 * A reader that is lost within `enqueue`: Deno's server takes a chunk at once, and cancels the body from there when it
 * finds its connection gone.
 *
 * @module
 */

/** Until it is disposed, every chunk that any stream is given costs it this reader. */
export function loseWithinEnqueue(reader: ReadableStreamDefaultReader<Uint8Array>): Disposable {
  const { prototype } = ReadableStreamDefaultController;
  const { enqueue } = prototype;
  prototype.enqueue = function (chunk) {
    enqueue.call(this, chunk);
    void reader.cancel();
  };
  return { [Symbol.dispose]: () => void (prototype.enqueue = enqueue) };
}

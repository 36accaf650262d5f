import assert from "node:assert/strict";
import { createLineWriter } from "./line_writer.ts";

/** A sink that takes at most `step` bytes a write, and only while it is open. */
function createSink(step: number) {
  const gate = Promise.withResolvers<void>();
  let text = "";
  return {
    write: async (bytes: Uint8Array) => {
      await gate.promise;
      const taken = bytes.subarray(0, step);
      text += new TextDecoder().decode(taken);
      return taken.length;
    },
    open: () => gate.resolve(),
    break: () => gate.reject(new Deno.errors.BrokenPipe("gone")),
    get text() {
      return text;
    },
  };
}

const options = { bytesMax: 10, formatDropped: (count: number) => `dropped ${count}\n` };
const soon = { timeoutMs: 10_000 };

Deno.test("LineWriter writes every byte in order, however few the sink takes", async () => {
  const sink = createSink(2);
  sink.open();
  const writer = createLineWriter({ ...options, sink, bytesMax: 100 });
  for (const line of ["one\n", "two\n", "three\n"]) writer.write(line);
  assert.equal(await writer.flush(soon), true);
  writer.write("four\n");
  assert.equal(await writer.flush(soon), true);
  assert.equal(sink.text, "one\ntwo\nthree\nfour\n");
});

Deno.test("LineWriter drops and counts what a stopped reader leaves no room for", async () => {
  const sink = createSink(100);
  const writer = createLineWriter({ ...options, sink });
  for (let i = 0; i < 6; i++) writer.write(`row${i}\n`);
  assert.equal(await writer.flush({ timeoutMs: 1 }), false);
  sink.open();
  assert.equal(await writer.flush(soon), true);
  assert.equal(sink.text, "row0\nrow1\nrow2\ndropped 3\n");
});

Deno.test("LineWriter gives up on a reader that is gone", async () => {
  const sink = createSink(100);
  const writer = createLineWriter({ ...options, sink });
  writer.write("one\n");
  sink.break();
  assert.equal(await writer.flush(soon), false);
  writer.write("two\n");
  assert.equal(await writer.flush(soon), false);
  assert.equal(sink.text, "");
});

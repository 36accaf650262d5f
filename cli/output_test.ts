import { deepEqual, equal, rejects } from "node:assert/strict";
import { createOutput } from "./output.ts";

/** Takes a few bytes at a time, as a pipe may. */
class FakeStream {
  text = "";
  failure: Error | undefined;
  constructor(readonly terminal: boolean) {}

  isTerminal(): boolean {
    return this.terminal;
  }

  write(bytes: Uint8Array): Promise<number> {
    if (this.failure !== undefined) return Promise.reject(this.failure);
    const taken = bytes.subarray(0, 5);
    this.text += String.fromCharCode(...taken);
    return Promise.resolve(taken.length);
  }
}

const hostile = '{"a":"\x9b2J\x7f"}';

Deno.test("createOutput() lets no line through that a terminal obeys, on stdout and on stderr", async () => {
  const [stdout, stderr] = [new FakeStream(true), new FakeStream(true)];
  const output = createOutput(stdout, stderr);
  await output.print("\x1b[2J", "b\nc");
  await output.warn("\x1b]0;title\x07");
  await output.printRaw(hostile);
  equal(stdout.text, '\\u001b[2J\nb\\u000ac\n{"a":"\\u009b2J\\u007f"}\n');
  equal(stderr.text, "\\u001b]0;title\\u0007\n");
  equal(output.isDrawable, true);
});

Deno.test("createOutput() leaves data as it is where it goes to a program, which may hash it", async () => {
  const stdout = new FakeStream(false);
  await createOutput(stdout, new FakeStream(false)).printRaw(hostile);
  deepEqual(new TextEncoder().encode(`${hostile}\n`), Uint8Array.from(stdout.text, (c) => c.charCodeAt(0)));
});

Deno.test("createOutput() tells when nobody reads any more, and passes other failures on", async () => {
  const stdout = new FakeStream(false);
  const output = createOutput(stdout, new FakeStream(false));
  stdout.failure = new Deno.errors.BrokenPipe();
  equal(output.closed.aborted, false);
  await output.print("x");
  equal(output.closed.aborted, true);
  stdout.failure = new Deno.errors.Interrupted();
  await rejects(output.print("x"), Deno.errors.Interrupted);
});

import assert from "node:assert/strict";
import { ProblemError } from "../../schemas/problem.ts";
import { EventReaders, readersPerCallerMax } from "./event_readers.ts";

const isProblem = (code: string, message: string) => (error: unknown) => {
  assert.ok(error instanceof ProblemError, String(error));
  assert.deepEqual([error.code, error.message], [code, `Cannot watch events: ${message}`]);
  assert.ok((error.options.retryAfterMs ?? 0) > 0);
  return true;
};

Deno.test("EventReaders.enter() gives each caller so many places, and all of them together", () => {
  const readers = new EventReaders({ readersMax: readersPerCallerMax + 2 });
  const enter = (caller: string) => readers.enter(caller, () => {});
  const leave = enter("a");
  for (let place = 1; place < readersPerCallerMax; place++) enter("a");
  assert.throws(() => enter("a"), isProblem("QUEUE_FULL", "256 readers of yours are there"));
  const others = [enter("b"), enter("c")];
  assert.throws(() => enter("d"), isProblem("QUEUE_FULL", "258 readers are there"));
  leave();
  leave();
  assert.equal(readers.count, readersPerCallerMax + 1);
  enter("a");
  assert.throws(() => enter("a"), isProblem("QUEUE_FULL", "256 readers of yours are there"));
  for (const leave of others) leave();
  assert.equal(readers.count, readersPerCallerMax);
});

Deno.test("EventReaders.closeAll() ends each reader once, and lets none in after it", () => {
  const readers = new EventReaders({ readersMax: 10 });
  const closed: string[] = [];
  const leaves = ["a", "b", "c"].map((name) =>
    readers.enter(name, () => {
      closed.push(name);
      leaves[0]?.();
      leaves[1]?.();
    })
  );
  leaves[2]?.();
  readers.closeAll();
  readers.closeAll();
  assert.deepEqual(closed, ["a", "b"]);
  assert.equal(readers.count, 0);
  assert.throws(() => readers.enter("d", () => {}), isProblem("NOT_READY", "the kernel is draining"));
});

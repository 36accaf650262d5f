import { deepEqual } from "node:assert/strict";
import { ReadingRoom } from "./reading_room.ts";

/** Readers of these sizes, in this order; each name is in `inside` while that reader is. */
function createReaders(room: ReadingRoom) {
  const inside = new Map<string, Disposable>();
  return {
    names: () => [...inside.keys()],
    ask: (name: string, bytes: number) => void room.enter(bytes).then((leave) => inside.set(name, leave)),
    leave(name: string) {
      inside.get(name)?.[Symbol.dispose]();
      inside.delete(name);
    },
  };
}

const turn = () => new Promise((resolve) => setTimeout(resolve, 0));

Deno.test("ReadingRoom lets in as many bytes as it has room for, first come, first served", async () => {
  const readers = createReaders(new ReadingRoom(100));
  readers.ask("a", 60);
  readers.ask("b", 40);
  readers.ask("c", 50);
  readers.ask("d", 0);
  await turn();
  deepEqual(readers.names(), ["a", "b"]);
  readers.leave("b");
  await turn();
  deepEqual(readers.names(), ["a"]);
  readers.leave("a");
  await turn();
  deepEqual(readers.names(), ["c", "d"]);
});

Deno.test("ReadingRoom lets one in that is larger than itself when it is alone", async () => {
  const readers = createReaders(new ReadingRoom(100));
  readers.ask("a", 1);
  readers.ask("large", 1_000);
  readers.ask("b", 1);
  await turn();
  deepEqual(readers.names(), ["a"]);
  readers.leave("a");
  await turn();
  deepEqual(readers.names(), ["large"]);
  readers.leave("large");
  await turn();
  deepEqual(readers.names(), ["b"]);
});

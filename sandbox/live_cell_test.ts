import { equal, rejects } from "node:assert/strict";
import { encodeFrame } from "./frame.ts";
import { LiveCell } from "./live_cell.ts";
import { endOf } from "./testing_peer.ts";

/** A cell that is ready, with one call under way; `far` is its own end of the socket. */
async function startCell() {
  const folder = await Deno.makeTempDir();
  using listener = Deno.listen({ transport: "unix", path: `${folder}/s` });
  const far = await Deno.connect({ transport: "unix", path: `${folder}/s` });
  const killed = Promise.withResolvers<void>();
  const kills = { count: 0, first: killed.promise };
  const cell = new LiveCell({
    cell: "1",
    plugin: "echo",
    frameBytesMax: 65_536,
    outputBytesMax: 65_536,
    streamWindowChars: 1_024,
    queueBytesMax: 65_536,
    abortGraceMs: 10,
    messagesPerSecond: 100_000,
    suspend() {},
    resume() {},
    onCall() {},
    kill() {
      kills.count++;
      killed.resolve();
    },
    onLog() {},
  });
  cell.connect(await listener.accept(), new TextEncoder().encode("{}"));
  await Deno.remove(folder, { recursive: true });
  await far.write(encodeFrame({ type: "ready" }));
  await cell.ready;
  const { signal } = new AbortController();
  const input = new TextEncoder().encode("{}");
  const call = cell.call({ action: "run", request: "1", input, wallMs: 60_000, signal });
  return { far, kills, cell, call };
}

// A kill at once would hide that the heap was full: the process is taken apart before its end is reported.
Deno.test("LiveCell leaves a cell that hung up to its own end, which says why", async () => {
  const { far, kills, cell, call } = await startCell();
  far.close();
  cell.over(endOf({ exitCode: 128 + 5, signal: null, killed: null }));
  await rejects(call, { code: "LIMIT_MEMORY" });
  equal((await cell.ended).by, "crashed");
  equal(kills.count, 0);
});

Deno.test("LiveCell kills a cell that hung up and does not end", async () => {
  const { far, kills, cell, call } = await startCell();
  far.close();
  await kills.first;
  equal(cell.takesCalls, false);
  cell.over(endOf({ exitCode: -1, signal: "SIGKILL", killed: "asked" }));
  await rejects(call, { code: "PLUGIN_CRASHED" });
  equal((await cell.ended).by, "killed");
});

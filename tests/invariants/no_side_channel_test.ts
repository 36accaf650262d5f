/**
 * Invariant: no side channel between plugins but the bus.
 *
 * Each way is written by one plugin and read by its neighbour while both are awake. A way that a plugin may
 * use at all must end at its own cell.
 *
 * @module
 */
import { deepEqual, equal, ok } from "node:assert/strict";
import { Airlock, manifest } from "../support/airlock.ts";
import { testInEachTier } from "../support/tiers.ts";

const message = "from-left";

/** What each plugin can do on a way; an error is an answer too. */
const plugin = `
const word = ${JSON.stringify(message)};
const attempt = async (act) => { try { return await act() ?? null; } catch (error) { return error.name; } };
const temporary = ["/tmp/meeting", "/var/tmp/meeting", "/dev/shm/meeting"];
let held;
const channel = new BroadcastChannel("meeting");
const heard = [];
channel.onmessage = ({ data }) => heard.push(data);
const ways = {
  broadcast: { write: () => channel.postMessage(word), read: () => heard[0] },
  caches: {
    write: async () => (await caches.open("meeting")).put("https://a.test/", new Response(word)),
    read: async () => (await (await caches.open("meeting")).match("https://a.test/"))?.text(),
  },
  locks: {
    write: () => new Promise((resolve) => navigator.locks.request("meeting", () => { resolve(); return new Promise((free) => held = free); })),
    read: async () => (await navigator.locks.query()).held.length > 0 ? word : undefined,
  },
  storage: { write: () => localStorage.setItem("meeting", word), read: () => localStorage.getItem("meeting") },
  sqlite: {
    async write() { const { DatabaseSync } = await import("node:sqlite");
      new DatabaseSync("file:meeting?mode=memory&cache=shared").exec("create table t as select '" + word + "' as word"); },
    async read() { const { DatabaseSync } = await import("node:sqlite");
      return new DatabaseSync("file:meeting?mode=memory&cache=shared").prepare("select word from t").get()?.word; },
  },
  globals: { write: () => globalThis.meeting = word, read: () => globalThis.meeting },
  temporary: {
    async write() { for (const file of temporary) await attempt(() => Deno.writeTextFile(file, word)); },
    async read() { for (const file of temporary) { const text = await attempt(() => Deno.readTextFile(file)); if (text === word) return text; } },
  },
  data: {
    write: (ctx) => Deno.writeTextFile(ctx.dataDir + "/meeting", word),
    read: (ctx) => Deno.readTextFile(ctx.dataDir.replace("right", "left") + "/meeting"),
  },
  neighbour: {
    write: (ctx) => Deno.writeTextFile(ctx.dataDir.replace("left", "right") + "/meeting", word),
    read: (ctx) => attempt(() => Deno.readTextFile(ctx.dataDir + "/meeting")).then((text) => text === word ? text : undefined),
  },
  link: {
    async write(ctx) { await Deno.symlink(ctx.dataDir.replace("left", "right"), ctx.dataDir + "/door"); await Deno.writeTextFile(ctx.dataDir + "/door/meeting", word); },
    read: (ctx) => Deno.readTextFile(ctx.dataDir + "/meeting"),
  },
  package: {
    write: (ctx) => Deno.writeTextFile(ctx.packageDir + "/meeting", word),
    read: (ctx) => Deno.readTextFile(ctx.packageDir + "/meeting"),
  },
  socket: {
    write: () => { Deno.listen({ hostname: "127.0.0.1", port: 4711 }); },
    read: async () => { (await Deno.connect({ hostname: "127.0.0.1", port: 4711 })).close(); return word; },
  },
  directory: { write: () => Deno.chdir("/tmp"), read: () => Deno.cwd() === "/tmp" ? word : undefined },
  umask: { write: () => { Deno.umask(0o123); }, read: () => Deno.umask() === 0o123 ? word : undefined },
  process: { write: () => { process.title = word; }, read: (ctx, pid) => Deno.readTextFile("/proc/" + pid + "/cmdline").then((text) => text.includes(word) ? word : undefined) },
  signal: { write: (ctx, pid) => Deno.kill(pid, "SIGUSR1"), read: () => undefined },
};
export const actions = {
  async write({ pid }, ctx) { const out = {}; for (const [name, way] of Object.entries(ways)) out[name] = await attempt(() => way.write(ctx, pid)); return out; },
  async read({ pid }, ctx) { const out = {}; for (const [name, way] of Object.entries(ways)) out[name] = await attempt(() => way.read(ctx, pid)); return out; },
};
`;
const both = (id: string) => ({
  "plugin.jsonc": manifest(id, { actions: { write: {}, read: {} } }),
  "mod.ts": plugin,
});

testInEachTier("no side channel: what one plugin leaves, its neighbour does not find", async (tier) => {
  await using airlock = await Airlock.start({
    plugins: { left: both("left"), right: both("right") },
    args: ["--tier", tier],
  });
  const started = await Promise.all(
    ["left", "right"].map((id) => airlock.request<{ pid: number }>("POST", `/v1/plugins/${id}/start`)),
  );
  const [left, right] = started.map(({ body }) => body.pid);
  const written = await airlock.call<Record<string, unknown>>("left", "write", { pid: right });
  const read = await airlock.call<Record<string, unknown>>("right", "read", { pid: left });
  deepEqual(Object.keys(written), Object.keys(read));
  deepEqual(Object.entries(read).filter(([, found]) => found === message), []);
  deepEqual([...Deno.readDirSync(`${airlock.dataDir}/plugins/right`)], []);

  // The probe itself works: a way inside one cell is found.
  const own = await airlock.call<Record<string, unknown>>("left", "read", { pid: left });
  for (const way of ["locks", "globals", "data"]) {
    ok([message, null].includes(own[way] as string | null), way);
  }
  equal(own["globals"], message);
  equal(own["data"], message);
  equal(written["neighbour"], "NotCapable");
  equal(written["package"], "NotCapable");
  equal(written["signal"], "NotCapable");
  equal((await airlock.plugin("right")).pid, right, "the neighbour was not disturbed");
});

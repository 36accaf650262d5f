import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { configSchema } from "../../schemas/config.ts";
import type { Ledger, LedgerEventInput } from "../ledger/ledger.ts";
import { prepareEvent } from "../ledger/event.ts";
import { openStore } from "../store/store.ts";
import { GrantEntries } from "./grant_entries.ts";
import type { Release } from "./release.ts";
import { releaseOf } from "./testing_plugin.ts";

type Read = readonly string[];

function release(read: Read): Release {
  const { grants, ...rest } = releaseOf();
  return { ...rest, grants: { ...grants, read: [...read] } };
}

/** Lives of the kernel over one store, and what its ledger says in the end. */
function createWorld() {
  const folder = Deno.makeTempDirSync();
  const store = openStore({ file: `${folder}/airlock.db` });
  const events: LedgerEventInput[] = [];
  const disk = { isBroken: false };
  const append: Ledger["append"] = (event) => {
    if (disk.isBroken) return Promise.reject(new Error("the disk is broken"));
    events.push(event);
    return Promise.resolve({ index: 0, size: 1, checkpoint: "" });
  };
  return {
    ...{ events, disk, store },
    live(grants: Record<string, { read: string[] }> = {}) {
      const deps = { store, ledger: { append } as Ledger, config: configSchema.parse({ grants }) };
      const entries = new GrantEntries(deps);
      const granted = (read: Read | undefined) => ({
        ...{ id: "echo", name: "echo@1.0.0" },
        release: read === undefined ? undefined : release(read),
      });
      return {
        found: (read: Read | undefined) => entries.tellFound(granted(read)),
        order: (read: Read) => entries.tell(granted(read), { read: [...read] }, "token:1"),
        gone: () => entries.tellGone(new Map()),
      };
    },
    /** The entries since the last look. */
    told: () => events.splice(0).map(({ type, actor, data }) => [type, actor, data]),
    [Symbol.dispose]() {
      store[Symbol.dispose]();
      Deno.removeSync(folder, { recursive: true });
    },
  };
}

const given = (actor: string, ...read: string[]) => ["grant.given", actor, { granted: { read } }];
const taken = (actor: string, ...read: string[]) => ["grant.taken", actor, { granted: { read } }];

Deno.test("GrantEntries tells what is given and what is taken, and nothing of what stays", async () => {
  using world = createWorld();
  const life = world.live();
  const steps: [Read, unknown[]][] = [
    [["/a", "/b"], [given("token:1", "/a", "/b")]],
    [["/a", "/b"], []],
    [["/b", "/c"], [taken("token:1", "/a"), given("token:1", "/c")]],
    [["/b"], [taken("token:1", "/c")]],
    [[], [taken("token:1", "/b")]],
  ];
  for (const [read, expected] of steps) {
    await life.order(read);
    deepEqual(world.told(), expected);
  }
});

Deno.test("GrantEntries tells nothing at a start without changes", async () => {
  using world = createWorld();
  const grants = { echo: { read: ["/a"] } };
  await world.live(grants).found(["/a", "/p"]);
  deepEqual(world.told(), [given("config", "/a", "/p")]);
  await world.live(grants).found(["/a", "/p"]);
  deepEqual(world.told(), []);
});

Deno.test("GrantEntries tells at a start whether the configuration changed a grant, or the package", async () => {
  using world = createWorld();
  await world.live().found(["/p"]);
  deepEqual(world.told(), [given("kernel", "/p")]);
  await world.live().found(["/q"]);
  deepEqual(world.told(), [taken("kernel", "/p"), given("kernel", "/q")]);
  await world.live({ echo: { read: ["/a"] } }).found(["/a", "/q"]);
  deepEqual(world.told(), [given("config", "/a")]);
  await world.live().found(["/q"]);
  deepEqual(world.told(), [taken("config", "/a")]);
  await world.live().found(undefined);
  deepEqual(world.told(), [taken("kernel", "/q")]);
});

Deno.test("GrantEntries takes what a plugin had whose folder is gone, once", async () => {
  using world = createWorld();
  await world.live().found(["/p"]);
  world.told();
  for (const expected of [[taken("kernel", "/p")], []]) {
    await world.live().gone();
    deepEqual(world.told(), expected);
  }
  deepEqual(world.store.grantsTold.list(), []);
});

// Both grants are as large as one may be, and the ledger may have been told of either.
Deno.test("GrantEntries takes what two grants had, of which one could not be written", async () => {
  using world = createWorld();
  const scopes = (folder: string) => Array.from({ length: 256 }, (_, index) => `/${folder}/${index}`);
  await world.live().order(scopes("a"));
  world.disk.isBroken = true;
  await rejects(world.live().order(scopes("b")), /the disk is broken/);
  world.disk.isBroken = false;
  world.told();
  await world.live().found(undefined);
  const [event] = world.events;
  ok(event?.type === "grant.taken");
  equal(event.data.granted.read?.length, 512);
  const tools = { nowMs: () => 0, nextSalt: () => new Uint8Array(16), valueBytesMax: 0 };
  ok(prepareEvent(event, tools).text.length < 65_535);
});

// The entries may have reached the disk before the crash, or not: the sum of all entries is right in both.
for (const isWritten of [false, true]) {
  Deno.test(`GrantEntries mends what a crash left whose entries were ${isWritten ? "" : "not "}written`, async () => {
    for (const now of [["/a"], ["/b"], ["/c"], ["/a", "/b", "/c"], []]) {
      using world = createWorld();
      await world.live().order(["/a"]);
      world.disk.isBroken = true;
      await rejects(world.live().order(["/b"]), /the disk is broken/);
      world.disk.isBroken = false;
      if (isWritten) {
        for (const [type, scope] of [["grant.taken", "/a"], ["grant.given", "/b"]] as const) {
          const data = { granted: { read: [scope] } };
          world.events.push({ type, actor: "token:1", plugin: "echo@1.0.0", data });
        }
      }
      await world.live().found(now);
      const inForce = new Set<string>();
      for (const event of world.events) {
        if (event.type !== "grant.given" && event.type !== "grant.taken") continue;
        for (const scope of event.data.granted.read ?? []) {
          if (event.type === "grant.given") inForce.add(scope);
          else inForce.delete(scope);
        }
      }
      deepEqual([...inForce].sort(), now);
      world.events.length = 0;
      await world.live().found(now);
      equal(world.events.length, 0);
    }
  });
}

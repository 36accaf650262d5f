import { deepEqual, equal, rejects } from "node:assert/strict";
import { settle } from "../../sandbox/testing_clock.ts";
import { ProblemError } from "../../schemas/problem.ts";
import type { ScannedPlugin } from "../registry/registry.ts";
import { createFolder, live, otherDigest, scan, until } from "./testing_plugins.ts";

type Life = ReturnType<typeof live>;

/** What the entries since `from` say of grants, and the scopes that all of them together leave in force. */
function grantsTold({ records }: Life, from = 0) {
  const inForce = new Set<string>();
  const told: [type: string, actor: string, plugin: string][] = [];
  for (const [index, event] of records.entries()) {
    if (event.type !== "grant.given" && event.type !== "grant.taken") continue;
    for (const [name, scopes] of Object.entries(event.data.granted)) {
      for (const scope of scopes ?? []) {
        if (event.type === "grant.given") inForce.add(`${name} ${scope}`);
        else inForce.delete(`${name} ${scope}`);
      }
    }
    if (index >= from) told.push([event.type, event.actor, event.plugin]);
  }
  return { told, inForce: [...inForce].sort() };
}

const reading = () => scan("echo", { capabilities: { read: ["*"] } });

Deno.test("Orders.act() takes the grants of what it unloads, and gives them again when it is loaded", async () => {
  await using folder = await createFolder();
  const found = [reading()];
  {
    await using life = live(folder.dataDir, folder.store, { found });
    life.world.inFolder = reading();
    await life.start();
    const { inForce } = grantsTold(life);
    equal(inForce.length > 0, true);
    const before = life.records.length;
    await life.plugins.act("echo", "unload", "token:1");
    deepEqual(grantsTold(life, before), {
      told: [["grant.taken", "token:1", "echo@1.0.0"]],
      inForce: [],
    });
    deepEqual(life.types().slice(before), ["plugin.ordered", "grant.taken", "plugin.unloaded"]);
    await life.plugins.act("echo", "unload", "token:1");
    await life.plugins.setGrants("echo", { read: ["/srv"] }, "token:1");
    deepEqual(grantsTold(life).inForce, [], "nothing is in force of what cannot start");
    await life.plugins.act("echo", "load", "token:2");
    deepEqual(grantsTold(life).inForce, [...inForce, "read /srv"].sort());
    await life.plugins.act("echo", "unload", "token:1");
  }
  await using next = live(folder.dataDir, folder.store, { found });
  await next.start();
  deepEqual(grantsTold(next), { told: [], inForce: [] });
});

// A data folder of a version that left them in force, or a crash before their entry.
Deno.test("Admission takes at a start what an unloaded plugin is said to have", async () => {
  await using folder = await createFolder();
  {
    await using life = live(folder.dataDir, folder.store);
    await life.start();
  }
  folder.store.plugins.set({ id: "echo", enabled: true, desired: "unloaded", updatedAtMs: 1 });
  await using life = live(folder.dataDir, folder.store);
  await life.start();
  deepEqual(grantsTold(life).told, [["grant.taken", "kernel", "echo@1.0.0"]]);
});

/** An open breaker whose next entry is durable once `finish` was called. */
async function openBreaker(life: Life) {
  await life.start();
  const { breaker } = life.plugins.find("echo");
  for (let call = 0; call < 20; call++) breaker.enter()?.done("failure");
  equal(breaker.state, "open");
  const delay = Promise.withResolvers<void>();
  life.world.delays.set("breaker.changed", delay.promise);
  return { breaker, finish: delay.resolve, fail: delay.reject };
}

Deno.test("Orders.act() answers when the entry of a breaker that it closed is durable", async () => {
  await using folder = await createFolder();
  await using life = live(folder.dataDir, folder.store);
  const { breaker, finish } = await openBreaker(life);
  life.world.durable.length = 0;
  const acted = life.plugins.act("echo", "reset", "token:1").then(() => life.world.durable.at(-1));
  await settle();
  equal(breaker.state, "closed");
  finish();
  equal(await acted, "breaker.changed");
});

Deno.test("Orders.setGrants() answers when the entry of a breaker that it closed is durable", async () => {
  await using folder = await createFolder();
  const found = [scan("echo", { capabilities: { run: ["*"] } })];
  folder.store.grants.set({ plugin: "echo", grants: { run: ["/bin/true"] }, setBy: "t", setAtMs: 1 });
  await using life = live(folder.dataDir, folder.store, { found });
  // It could not be had with the grant of `run`: the breaker is of what was there before.
  const { breaker, finish } = await openBreaker(life);
  life.world.durable.length = 0;
  const acted = life.plugins.setGrants("echo", {}, "token:1").then(() => life.world.durable.at(-1));
  await until(() => breaker.state === "closed");
  finish();
  equal(await acted, "breaker.changed");
});

Deno.test("Orders.act() holds nothing against an order but its own entries", async () => {
  await using folder = await createFolder();
  await using life = live(folder.dataDir, folder.store);
  await life.start();
  const installed = life.plugins.find("echo");
  installed.breakerTold = Promise.reject(new ProblemError("QUEUE_FULL", "Cannot append"));
  installed.breakerTold.catch(() => {});
  await life.plugins.act("echo", "stop", "token:1");
});

const rejected: ScannedPlugin = {
  ...{ kind: "rejected", folder: "/f/echo", id: "echo", isCritical: false },
  error: new ProblemError("PLUGIN_REJECTED", "Cannot admit"),
};

Deno.test("Admission takes with --dev the grants of a package that is rejected, and gives them again", async () => {
  await using folder = await createFolder();
  await using life = live(folder.dataDir, folder.store, { dev: true });
  await life.start();
  const { inForce } = grantsTold(life);
  const { plugin } = life.plugins.find("echo");
  life.world.inFolder = rejected;
  await rejects(Promise.resolve(plugin.awake()), { code: "PLUGIN_REJECTED" });
  deepEqual(grantsTold(life).inForce, []);
  life.world.inFolder = scan("echo");
  await life.plugins.act("echo", "start", "token:1");
  deepEqual(grantsTold(life).inForce, inForce);
});

// A call starts a cell while the order is under way: with the other files, and the grants of the order.
Deno.test("Orders.setGrants() and a cell that starts with other files meanwhile undo nothing of each other", async () => {
  await using folder = await createFolder();
  await using life = live(folder.dataDir, folder.store, { dev: true, found: [reading()] });
  await life.start();
  life.world.inFolder = scan("echo", { capabilities: { read: ["*"] } }, otherDigest);
  const { plugin } = life.plugins.find("echo");
  const delay = Promise.withResolvers<void>();
  life.world.delays.set("grant.given", delay.promise);
  const granted = life.plugins.setGrants("echo", { read: ["/srv"] }, "token:1");
  await until(() => life.types().at(-1) === "grant.given");
  const woken = Promise.resolve(plugin.awake()).catch(() => {}); // its cell may be gone again
  await settle();
  delay.resolve();
  await granted;
  await woken;
  const { inForce } = grantsTold(life);
  equal(inForce.includes("read /srv"), true);
  deepEqual([plugin.release?.grants.read.includes("/srv"), plugin.release?.digest], [true, otherDigest]);
});

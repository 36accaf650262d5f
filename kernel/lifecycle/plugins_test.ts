import { deepEqual, equal, match, rejects, throws } from "node:assert/strict";
import { ProblemError } from "../../schemas/problem.ts";
import { settle } from "../../sandbox/testing_clock.ts";
import type { ScannedPlugin } from "../registry/registry.ts";
import { checkCallable } from "./installed.ts";
import { createFolder, digest, live, otherDigest, scan, until } from "./testing_plugins.ts";

Deno.test("Plugins keeps a quarantine over the lives of the kernel, until it is reset", async () => {
  await using folder = await createFolder();
  {
    await using first = live(folder.dataDir, folder.store);
    await first.start();
    await first.crashUntil("quarantined");
    equal(first.types().filter((type) => type === "plugin.quarantined").length, 1);
  }
  {
    await using second = live(folder.dataDir, folder.store);
    await second.start();
    const { state, status, lastError } = second.plugins.get("echo");
    deepEqual([state, status, lastError?.code], ["quarantined", "error", "PLUGIN_CRASHED"]);
    equal(second.types().includes("plugin.quarantined"), false, "the ledger tells it once");
    throws(() => checkCallable(second.plugins.find("echo")), { code: "PLUGIN_QUARANTINED" });
    for (const verb of ["start", "load"] as const) {
      await rejects(second.plugins.act("echo", verb, "token:1"), { code: "PLUGIN_QUARANTINED" });
    }
    const { value } = await second.plugins.act("echo", "reset", "token:1");
    equal(value.state, "loaded");
    deepEqual(second.types().slice(-2), ["plugin.ordered", "plugin.reset"]);
    await second.plugins.act("echo", "start", "token:1");
  }
  await using third = live(folder.dataDir, folder.store);
  await third.start();
  equal(third.plugins.get("echo").state, "loaded");
});

// The kernel was killed between the store and the ledger.
Deno.test("Plugins tells the ledger of a quarantine that it was not told of", async () => {
  await using folder = await createFolder();
  const failures = { code: "LIMIT_CPU", reason: "why", failures: 3, windowMs: 60_000, atMs: 5 } as const;
  folder.store.quarantines.set({ plugin: "echo", digest, ...failures, recorded: false });
  for (const expected of [1, 0]) {
    await using life = live(folder.dataDir, folder.store);
    await life.start();
    equal(life.types().filter((type) => type === "plugin.quarantined").length, expected);
    equal(life.plugins.get("echo").state, "quarantined");
  }
});

Deno.test("Plugins lifts a quarantine when other files are taken on, and finds it again with the same", async () => {
  await using folder = await createFolder();
  await using life = live(folder.dataDir, folder.store);
  await life.start();
  await life.crashUntil("quarantined");
  equal((await life.plugins.act("echo", "unload", "token:1")).value.state, "unloaded");
  await rejects(life.plugins.act("echo", "load", "token:1"), { code: "PLUGIN_QUARANTINED" });
  equal(life.plugins.get("echo").state, "quarantined");
  await life.plugins.act("echo", "unload", "token:1");
  life.world.inFolder = scan("echo", {}, otherDigest);
  equal((await life.plugins.act("echo", "load", "token:2")).value.state, "loaded");
  const last = life.records.at(-1);
  deepEqual([last?.type, last?.actor], ["plugin.reset", "token:2"]);
  equal(folder.store.quarantines.get("echo"), undefined);
});

Deno.test("Plugins with --dev neither begins a quarantine nor finds one again", async () => {
  await using folder = await createFolder();
  {
    await using life = live(folder.dataDir, folder.store);
    await life.start();
    await life.crashUntil("quarantined");
  }
  await using life = live(folder.dataDir, folder.store, { dev: true });
  await life.start();
  equal(life.plugins.get("echo").state, "loaded");
  folder.store.quarantines.delete("echo");
  for (let crash = 0; crash < 5; crash++) {
    await life.plugins.act("echo", "start", "token:1");
    life.cells.at(-1)?.end("crashed");
    await settle();
  }
  deepEqual([life.plugins.get("echo").state, folder.store.quarantines.get("echo")], ["error", undefined]);
});

Deno.test("Plugins starts critical plugins at once, and misses those that are enabled and not up", async () => {
  await using folder = await createFolder();
  const found = [scan("echo", { critical: true }), scan("other"), scan("off", { critical: true })];
  folder.store.plugins.set({ id: "off", enabled: false, desired: "on-demand", updatedAtMs: 1 });
  await using life = live(folder.dataDir, folder.store, { found });
  const { plugins } = life;
  await life.start();
  deepEqual(plugins.missing(), ["echo"]);
  await until(() => plugins.get("echo").state === "running");
  deepEqual([plugins.missing(), plugins.get("other").state], [[], "loaded"]);
  await plugins.find("echo").plugin.sleep("idle");
  deepEqual(plugins.missing(), [], "asleep is up");
  await plugins.act("echo", "stop", "token:1");
  deepEqual(plugins.missing(), ["echo"]);
  await plugins.act("echo", "load", "token:1");
  await until(() => plugins.missing().length === 0);
  await plugins.act("off", "enable", "token:1");
  await until(() => plugins.missing().length === 0);
  equal(plugins.get("off").state, "running", "an order is followed up");
});

Deno.test("Plugins.setGrants() refuses what the warden would refuse, and records nothing", async () => {
  await using folder = await createFolder();
  await using life = live(folder.dataDir, folder.store, {
    found: [scan("echo", { capabilities: { read: ["*"] } })],
  });
  await life.start();
  const before = life.records.length;
  life.world.fault = 'Cannot grant "/srv/link": it leads to "/etc". Grant that, if it is meant';
  await rejects(life.plugins.setGrants("echo", { read: ["/srv/link"] }, "token:1"), (error) => {
    match((error as ProblemError).message, /leads to/);
    return error instanceof ProblemError && error.code === "GRANT_REFUSED";
  });
  deepEqual([life.records.length, folder.store.grants.get("echo")], [before, undefined]);
  life.world.fault = null;
  await life.plugins.setGrants("echo", { read: ["/srv/file"] }, "token:1");
  deepEqual(life.plugins.grants("echo").operator, { read: ["/srv/file"] });
});

Deno.test("Plugins carries out suspend and resume, also of a plugin whose grants change meanwhile", async () => {
  await using folder = await createFolder();
  await using life = live(folder.dataDir, folder.store);
  const { plugins } = life;
  await life.start();
  await rejects(plugins.act("echo", "suspend", "token:1"), { code: "CONFLICT" });
  await plugins.act("echo", "start", "token:1");
  equal((await plugins.act("echo", "suspend", "token:1")).value.state, "suspended");
  await plugins.setGrants("echo", {}, "token:1");
  equal(plugins.get("echo").state, "loaded");
  await plugins.act("echo", "start", "token:1");
  for (const verb of ["disable", "enable", "start", "suspend", "unload"] as const) {
    await plugins.act("echo", verb, "token:1");
  }
  deepEqual([plugins.get("echo").state, plugins.get("echo").pid], ["unloaded", null]);
});

Deno.test("Plugins leaves the operator's choice as it is where a start is refused", async () => {
  await using folder = await createFolder();
  await using life = live(folder.dataDir, folder.store);
  const { plugins } = life;
  await life.start();
  await plugins.act("echo", "stop", "token:1");
  await plugins.act("echo", "disable", "token:1");
  await rejects(plugins.act("echo", "start", "token:1"), { code: "PLUGIN_DISABLED" });
  equal(folder.store.plugins.get("echo")?.desired, "stopped");
  await plugins.act("echo", "enable", "token:1");
  await plugins.act("echo", "start", "token:1");
  await life.crashUntil("quarantined");
  await plugins.act("echo", "stop", "token:1");
  for (const verb of ["start", "load"] as const) {
    await rejects(plugins.act("echo", verb, "token:1"), { code: "PLUGIN_QUARANTINED" });
  }
  equal(folder.store.plugins.get("echo")?.desired, "stopped");
});

Deno.test("Plugins misses a critical plugin that was rejected, until it is disabled", async () => {
  await using folder = await createFolder();
  const error = new ProblemError("PLUGIN_REJECTED", "Cannot admit");
  const reject = (id: string, isCritical: boolean): ScannedPlugin => {
    return { kind: "rejected", folder: `/f/${id}`, id, isCritical, error };
  };
  const found = [reject("gate", true), reject("other", false), scan("echo", { critical: true })];
  await using life = live(folder.dataDir, folder.store, { found });
  const { plugins } = life;
  await life.start();
  await until(() => plugins.get("echo").state === "running");
  deepEqual(plugins.missing(), ["gate"]);
  await plugins.act("gate", "disable", "token:1");
  deepEqual(plugins.missing(), []);
  await plugins.act("echo", "suspend", "token:1");
  deepEqual(plugins.missing(), ["echo"], "who is suspended serves nobody");
});

Deno.test("Plugins holds nothing against another package than the one that failed", async () => {
  await using folder = await createFolder();
  await using life = live(folder.dataDir, folder.store);
  const { plugins } = life;
  await life.start();
  const { breaker, plugin } = plugins.find("echo");
  for (let call = 0; call < 20; call++) breaker.enter()?.done("failure");
  equal(breaker.state, "open");
  life.world.inFolder = scan("echo", {}, otherDigest);
  await plugins.act("echo", "unload", "token:1");
  await plugins.act("echo", "load", "token:1");
  deepEqual([breaker.state, plugin.state], ["closed", "loaded"]);
});

// Whoever makes way may hang, and with it a call of somebody else's plugin.
Deno.test("Plugins looks for room for a cell no longer than a start may take", async () => {
  await using folder = await createFolder();
  const found = [scan("echo"), scan("other")];
  await using life = live(folder.dataDir, folder.store, { found, awakeMax: 1 });
  await life.start();
  await life.plugins.act("echo", "start", "token:1");
  const hung = Promise.withResolvers<void>();
  const hanging = life.plugins.find("echo").plugin.inOrder(() => hung.promise);
  const failed = rejects(Promise.resolve(life.plugins.find("other").plugin.awake()), /1 plugins are busy/);
  await settle();
  await life.timing.pass(10_000);
  await failed;
  hung.resolve();
  await hanging;
});

const found = (life: ReturnType<typeof live>) =>
  life.records.flatMap((event) =>
    event.type === "plugin.found" ? [[event.plugin, event.data, event.commit]] : []
  );

Deno.test("Plugins tells of a folder when it is there first, and again when its bytes are others", async () => {
  await using folder = await createFolder();
  const commit = { folder: "/f/echo" };
  const first = [["echo@1.0.0", { packageSha256: digest }, commit]];
  for (const expected of [first, []]) {
    await using life = live(folder.dataDir, folder.store);
    await life.start();
    deepEqual(found(life), expected);
  }
  await using life = live(folder.dataDir, folder.store);
  await life.start();
  await life.plugins.act("echo", "unload", "token:1");
  life.world.inFolder = scan("echo", { version: "2.0.0" }, otherDigest);
  await life.plugins.act("echo", "load", "token:1");
  deepEqual(found(life), [["echo@2.0.0", { packageSha256: otherDigest }, commit]]);
  const types = life.types();
  equal(types.indexOf("plugin.found") < types.indexOf("plugin.loaded"), true);
});

Deno.test("Plugins tells of a folder whose package is rejected, by its digest or by its faults", async () => {
  await using folder = await createFolder();
  const reject = (message: string, more: { digest?: string; name?: string } = {}): ScannedPlugin => {
    const error = new ProblemError("PLUGIN_REJECTED", message);
    return { kind: "rejected", folder: "/f/echo", id: "echo", isCritical: false, error, ...more };
  };
  const commit = { folder: "/f/echo" };
  const steps: [ScannedPlugin, unknown[]][] = [
    [reject("one", { digest, name: "echo@1.0.0" }), [["echo@1.0.0", { packageSha256: digest }, commit]]],
    [reject("two", { digest }), []],
    [reject("two"), [["", {}, commit]]],
    [reject("two"), []],
    [reject("three"), [["", {}, commit]]],
  ];
  for (const [scanned, expected] of steps) {
    await using life = live(folder.dataDir, folder.store, { found: [scanned] });
    await life.start();
    deepEqual(found(life), expected);
    equal(life.types().at(-1), "plugin.rejected");
  }
  // A folder that was away is found again.
  await using away = live(folder.dataDir, folder.store, { found: [] });
  await away.start();
  await using back = live(folder.dataDir, folder.store, { found: [reject("three")] });
  await back.start();
  deepEqual(back.types(), ["plugin.found", "plugin.rejected"]);
});

Deno.test("Plugins records that an admitted package cannot be had as it asks for", async () => {
  await using folder = await createFolder();
  const sealed = scan("echo", { isolation: "sealed" });
  await using life = live(folder.dataDir, folder.store, { found: [sealed] });
  await life.start();
  deepEqual(life.types(), ["plugin.found", "plugin.admitted", "plugin.failed"]);
  deepEqual(life.records.at(-1)?.data, { code: "ISOLATION_REQUIRED" });
});

Deno.test("Plugins takes the grants of a plugin that cannot be had any more", async () => {
  await using folder = await createFolder();
  const dirs = { read: [`${folder.dataDir}/plugins/echo`], write: [`${folder.dataDir}/plugins/echo`] };
  const granted = { read: ["/p", ...dirs.read].sort((a, b) => a < b ? -1 : 1), write: dirs.write };
  const grants = (life: ReturnType<typeof live>) =>
    life.records.flatMap((event) =>
      event.type.startsWith("grant.") ? [[event.type, event.actor, event.data]] : []
    );
  {
    await using life = live(folder.dataDir, folder.store);
    await life.start();
    deepEqual(grants(life), [["grant.given", "kernel", { granted }]]);
  }
  await using life = live(folder.dataDir, folder.store, { found: [] });
  await life.start();
  deepEqual(grants(life), [["grant.taken", "kernel", { granted }]]);
});

// It is wanted when the plugin was removed, and a start without its folder is no removal.
Deno.test("Plugins keeps the audit of a plugin that is not installed any more, for a time", async () => {
  await using folder = await createFolder();
  const { audit } = folder.store;
  const of = (plugin: string) =>
    ({ plugin, outcome: "refused", permission: "read", resource: "/etc/passwd" }) as const;
  const times = { count: 1, firstAtMs: 1_000, lastAtMs: 1_000 };
  for (const [id, atMs] of [["echo", 1_000], ["left", 1_000], ["old", 1_000 - 2_592_000_001]] as const) {
    audit.add([{ ...of(id), ...times }], new Map(), atMs);
  }
  await using life = live(folder.dataDir, folder.store);
  await life.start();
  deepEqual(["echo", "left", "old"].map((id) => audit.has(id)), [true, true, false]);
  await life.plugins.audited("left");
  await rejects(life.plugins.audited("old"), { code: "PLUGIN_NOT_FOUND" });
});

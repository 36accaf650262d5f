/**
 * Who watches plugins is told of each change of what is shown of them.
 *
 * @module
 */
import { deepEqual, equal, match, ok, rejects } from "node:assert/strict";
import { ProblemError } from "../../schemas/problem.ts";
import type { RejectedPlugin } from "../registry/registry.ts";
import { createFolder, live, otherDigest, scan } from "./testing_plugins.ts";

/** A life whose watcher keeps what is shown of `echo`, each time that it is told. */
async function watched(folder: Awaited<ReturnType<typeof createFolder>>) {
  const shown: string[] = [];
  const look = (): string => {
    const { state, enabled, standing, status, breaker } = life.plugins.get("echo");
    return `${state} ${enabled ? "enabled" : "disabled"} ${standing} ${status} ${breaker}`;
  };
  const life = live(folder.dataDir, folder.store, {
    changed(id) {
      equal(id, "echo");
      shown.push(look());
    },
  });
  await life.start();
  shown.length = 0;
  /** What was shown since, in the end that which is. */
  const take = () => {
    const taken = shown.splice(0);
    ok(taken.length === 0 || taken.at(-1) === look());
    return [...new Set(taken)];
  };
  return { life, take, [Symbol.asyncDispose]: () => life[Symbol.asyncDispose]() };
}

Deno.test("Plugins tells of each state, and of a plugin that is disabled and enabled", async () => {
  await using folder = await createFolder();
  await using setup = await watched(folder);
  const { life: { plugins }, take } = setup;
  await plugins.act("echo", "start", "token:1");
  const rest = "enabled admitted";
  deepEqual(take(), [
    `loaded ${rest} ready closed`,
    `starting ${rest} loading closed`,
    `running ${rest} ready closed`,
  ]);
  await plugins.act("echo", "stop", "token:1");
  deepEqual(take().at(-1), `loaded ${rest} ready closed`);
  await plugins.act("echo", "disable", "token:1");
  deepEqual(take(), ["loaded disabled admitted disabled closed"]);
  await plugins.act("echo", "enable", "token:1");
  deepEqual(take(), [`loaded ${rest} ready closed`]);
});

Deno.test("Plugins tells of a breaker that opens and of one that is reset", async () => {
  await using folder = await createFolder();
  await using setup = await watched(folder);
  const { life: { plugins }, take } = setup;
  const { breaker } = plugins.find("echo");
  while (breaker.state === "closed") {
    deepEqual(take(), []);
    breaker.enter()?.failed(new ProblemError("ACTION_FAILED", "no"));
  }
  deepEqual(take(), ["loaded enabled admitted ready open"]);
  await plugins.act("echo", "reset", "token:1");
  deepEqual(take(), ["loaded enabled admitted ready closed"]);
});

Deno.test("Plugins tells of a package that is rejected, admitted again, and of a fault that comes and goes", async () => {
  await using folder = await createFolder();
  await using setup = await watched(folder);
  const { life: { plugins, world }, take } = setup;
  const error = new ProblemError("PLUGIN_REJECTED", "Cannot admit");
  const rejected: RejectedPlugin = { kind: "rejected", id: "echo", folder: "/f", error, isCritical: false };
  await plugins.act("echo", "unload", "token:1");
  world.inFolder = rejected;
  take();
  await rejects(plugins.act("echo", "load", "token:1"), { code: "PLUGIN_REJECTED" });
  deepEqual(take(), ["unloaded enabled rejected error closed"]);
  // The tier of this life holds no cell of such a package.
  world.inFolder = scan("echo", { isolation: "sealed" }, otherDigest);
  await rejects(plugins.act("echo", "load", "token:1"), { code: "ISOLATION_REQUIRED" });
  deepEqual(take().at(-1), "unloaded enabled admitted error closed");
  world.inFolder = scan("echo");
  await plugins.act("echo", "load", "token:1");
  deepEqual(take().at(-1), "loaded enabled admitted ready closed");
});

Deno.test("Plugins goes on when who watches fails, and says so", async () => {
  await using folder = await createFolder();
  await using life = live(folder.dataDir, folder.store, {
    changed: () => {
      throw new Error("no ear");
    },
  });
  await life.start();
  await life.plugins.act("echo", "start", "token:1");
  equal(life.plugins.get("echo").state, "running");
  ok(life.warnings.length > 0);
  for (const warning of life.warnings) match(warning, /Cannot tell of a change of plugin "echo".*no ear/);
});

/**
 * Invariant: isolated. A plugin has a process and a session of its own, and inherits no environment.
 *
 * @module
 */
import { deepEqual, equal, notEqual, ok } from "node:assert/strict";
import { Airlock, manifest } from "../support/airlock.ts";
import { commandLineOf, descendantsOf, environmentOf, sessionOf } from "../support/processes.ts";
import { testInEachTier, testSealed } from "../support/tiers.ts";

const secret = "s3cr3t-of-the-operator";
const env = { OPERATOR_SECRET: secret, AWS_SECRET_ACCESS_KEY: secret, PLUGIN_GREETING: "given" };
const cat = "/usr/bin/cat";

const spy = `
const attempt = (act) => { try { return act(); } catch (error) { return error.name; } };
export const actions = {
  environment: () => ({
    all: attempt(() => Deno.env.toObject()),
    secret: attempt(() => Deno.env.get("OPERATOR_SECRET")),
    process: attempt(() => JSON.stringify(process.env)),
    proc: attempt(() => Deno.readTextFileSync("/proc/self/environ")),
    parent: attempt(() => Deno.readTextFileSync("/proc/" + Deno.ppid + "/environ")),
    greeting: attempt(() => Deno.env.get("PLUGIN_GREETING") ?? null),
    arguments: Deno.args,
    stdin: attempt(() => Deno.stdin.readSync(new Uint8Array(64))),
  }),
  async programs() {
    const { stdout } = await new Deno.Command("${cat}", { args: ["/proc/self/environ"] }).output();
    return new TextDecoder().decode(stdout);
  },
};
`;
const actions = { environment: {}, programs: {} };
const plugins = {
  spy: { "plugin.jsonc": manifest("spy", { actions }), "mod.ts": spy },
  other: { "plugin.jsonc": manifest("other", { actions }), "mod.ts": spy },
  greeted: {
    "plugin.jsonc": manifest("greeted", { actions, capabilities: { env: ["PLUGIN_GREETING"] } }),
    "mod.ts": spy,
  },
  runner: { "plugin.jsonc": manifest("runner", { actions, capabilities: { run: [cat] } }), "mod.ts": spy },
};

testInEachTier(
  "isolated: each plugin is alone in its process, its session and its environment",
  async (tier) => {
    const config = { grants: { greeted: { env: ["PLUGIN_GREETING"] } } };
    await using airlock = await Airlock.start({ plugins, env, config, args: ["--tier", tier] });
    const seen = [
      await airlock.call<Record<string, unknown>>("spy", "environment"),
      await airlock.call<Record<string, unknown>>("other", "environment"),
    ];
    for (const { all, secret: one, process, proc, parent, greeting, arguments: args, stdin } of seen) {
      deepEqual([all, one, proc, parent, greeting], Array(5).fill("NotCapable"));
      ok(process === "{}" || process === "NotCapable", String(process));
      deepEqual(args, []);
      equal(stdin, null, "stdin is at its end before the Worker exists");
    }
    equal((await airlock.call<{ greeting: string }>("greeted", "environment")).greeting, "given");
    equal((await airlock.call<{ all: unknown }>("greeted", "environment")).all, "NotCapable");

    const pids = await Promise.all(
      ["spy", "other", "greeted"].map(async (id) => (await airlock.plugin(id)).pid ?? 0),
    );
    const kernel = await airlock.kernelPid();
    equal(new Set([...pids, kernel, airlock.pid]).size, 5);
    equal(new Set([...pids, airlock.pid].map(sessionOf)).size, 4, "a session each, none the warden's");
    for (const pid of descendantsOf(airlock.pid)) {
      // Arguments can be read by every user of the machine.
      equal(commandLineOf(pid).some((argument) => argument.includes("given")), false);
      if (commandLineOf(pid).join(" ").includes("/greeted")) continue;
      equal(
        JSON.stringify([environmentOf(pid), commandLineOf(pid)]).includes(secret),
        false,
        commandLineOf(pid).join(" "),
      );
    }
    const audits = new Set<string>();
    for (const pid of pids) {
      notEqual(Object.keys(environmentOf(pid)).length, 0, "its environment can be read");
      const { DENO_AUDIT_PERMISSIONS, DENO_DIR, HOME, TMPDIR, ...rest } = environmentOf(pid);
      equal(DENO_DIR, "/proc/none", "it has no cache to share");
      audits.add(DENO_AUDIT_PERMISSIONS ?? "");
      ok(
        [HOME, TMPDIR].every((folder) => folder?.startsWith(tier === "sealed" ? "/tmp" : airlock.runFolder)),
      );
      deepEqual(
        Object.keys(rest).filter((name) =>
          !["DENO_EMIT_CACHE_MODE", "DENO_NO_UPDATE_CHECK", "NO_COLOR", "PATH", "PLUGIN_GREETING", "PWD"]
            .includes(name)
        ),
        [],
      );
    }
    equal(audits.size, pids.length, "the pipe of its audit is its own");
    ok([...audits].every((path) => path.startsWith(`${airlock.runFolder}/audit/`)));
  },
);

testSealed("isolated: a program that a plugin runs sees nothing of Airlock's environment", async () => {
  await using airlock = await Airlock.start({ plugins, env, config: { grants: { runner: { run: [cat] } } } });
  const environment = await airlock.call<string>("runner", "programs");
  const names = environment.split("\0").filter((line) => line !== "").map((line) => line.split("=")[0] ?? "");
  ok(names.includes("PATH"));
  equal(environment.includes(secret), false);
  deepEqual(names.filter((name) => /SECRET|AWS|AIRLOCK|TOKEN|GREETING/.test(name)), []);
});

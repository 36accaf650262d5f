import { deepEqual, equal, match, notEqual, ok } from "node:assert/strict";
import { Airlock, isSealedAvailable, manifest, temporaryFolder } from "../support/airlock.ts";
import { checkContinued, copyLedger } from "../support/ledger.ts";
import { commandLineOf, environmentOf, runToEnd } from "../support/processes.ts";
import { testWith } from "../support/tiers.ts";

testWith(
  ["curl"],
  "serve prints address, token, tier, plugins, and a line that works when pasted",
  async () => {
    await using airlock = await Airlock.start({
      plugins: { newer: { "plugin.jsonc": manifest("newer", { airlock: ">=9.0.0" }), "mod.ts": "" } },
    });
    const { stdout } = airlock.output;
    match(stdout, /^airlock listening on http:\/\/127\.0\.0\.1:[0-9]+$/m);
    ok(stdout.includes(`token      ${airlock.dataDir}/admin.token\n`));
    match(
      stdout,
      await isSealedAvailable()
        ? /^isolation {2}sealed: bubblewrap works/m
        : /^isolation {2}process: .*bubblewrap/m,
    );
    const { body } = await airlock.request<{ items: { id: string; version: string; status: string }[] }>(
      "GET",
      "/v1/plugins",
    );
    for (const { id, status } of body.items) match(stdout, new RegExp(`^  ${id}\\s.*\\b${status}\\b`, "m"));
    match(stdout, /^ {2}newer .*error: .*>=9\.0\.0/m);
    const line = /^try it\n {2}(curl .*)$/m.exec(stdout)?.[1] ?? "";
    const curl = await runToEnd(["sh", "-c", line]);
    deepEqual(JSON.parse(curl.stdout).output, { message: "Hello, world" });
  },
);

Deno.test("serve makes the administrator's token at the first start, for its owner alone", async () => {
  await using folder = await temporaryFolder();
  const dataDir = `${folder.path}/data`;
  const tokens: string[] = [];
  for (let start = 0; start < 2; start++) {
    await using airlock = await Airlock.start({ dataDir });
    tokens.push(airlock.token);
    equal((await Deno.stat(`${dataDir}/admin.token`)).mode! & 0o777, 0o600);
    equal((await Deno.stat(dataDir)).mode! & 0o777, 0o700);
    equal((await Deno.stat(airlock.runFolder)).mode! & 0o777, 0o700);
    equal(airlock.output.stdout.includes(airlock.token), false);
  }
  equal(tokens[0], tokens[1]);
});

Deno.test("serve comes up a second time with the same ledger, tokens and choices", async () => {
  await using folder = await temporaryFolder();
  const dataDir = `${folder.path}/data`;
  let made = "";
  let before: Awaited<ReturnType<typeof copyLedger>>;
  {
    await using airlock = await Airlock.start({ dataDir });
    await airlock.call("hello", "greet", { name: "x" });
    made =
      (await airlock.request<{ token: string }>("POST", "/v1/tokens", { name: "ci", role: "viewer" })).body
        .token;
    await airlock.request("POST", "/v1/plugins/notes/stop");
    before = await copyLedger(airlock);
  }
  await using airlock = await Airlock.start({ dataDir });
  checkContinued(before, await copyLedger(airlock));
  const headers = { authorization: `Bearer ${made}` };
  equal((await airlock.request("GET", "/v1/plugins", undefined, headers)).status, 200);
  equal((await airlock.fail("notes", "list")).code, "PLUGIN_STOPPED");
  const records = await airlock.records();
  deepEqual(records.filter(({ type }) => type === "ledger.created").map(({ seq }) => seq), [0]);
  deepEqual(records.map(({ type }) => type).filter((type) => type.startsWith("kernel.")), [
    "kernel.started",
    "kernel.stopped",
    "kernel.started",
  ]);
  deepEqual(records.map(({ seq }) => seq), records.map((_, index) => index));
});

/** Each is in ARCHITECTURE.md's sense "the least that works"; a new one needs its reason in command_line.ts. */
const kernelFlags = [
  "--quiet",
  "--no-prompt",
  "--config",
  "--cached-only",
  "--no-remote",
  "--unstable-no-legacy-abort",
  "--ignore-env",
  "--allow-net",
  "--allow-read",
  "--allow-write",
];

Deno.test("the kernel runs with the least flags, and none to start a program", async () => {
  await using airlock = await Airlock.start();
  const pid = await airlock.kernelPid();
  notEqual(pid, airlock.pid);
  const [, run, ...rest] = commandLineOf(pid);
  equal(run, "run");
  const flags = rest.slice(0, rest.findIndex((word) => !word.startsWith("--")));
  deepEqual(flags.map((flag) => flag.split("=")[0]).sort(), kernelFlags.toSorted());
  equal(rest.at(-1), "kernel");
  const valueOf = (name: string) =>
    flags.find((flag) => flag.startsWith(`${name}=`))?.slice(name.length + 1).split(",") ?? [];
  deepEqual(valueOf("--allow-write").sort(), [airlock.dataDir, airlock.runFolder].sort());
  for (const scope of valueOf("--allow-net")) match(scope, /^(?:127\.0\.0\.1:[0-9]+|unix:\/.*\/s)$/);
  for (const folder of valueOf("--allow-read")) {
    ok(folder.startsWith("/") && folder.split("/").length > 2, folder);
  }
  deepEqual(
    Object.keys(environmentOf(pid)).filter((name) =>
      !["NO_COLOR", "DENO_NO_UPDATE_CHECK", "DENO_DIR", "HOME", "XDG_CACHE_HOME", "TZ", "PWD"].includes(name)
    ),
    [],
  );
});

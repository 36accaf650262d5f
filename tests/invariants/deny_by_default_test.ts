/**
 * Invariant: deny by default. A request is not a grant.
 *
 * @module
 */
import { deepEqual, equal, match, ok } from "node:assert/strict";
import type { Problem } from "../../schemas/problem.ts";
import { Airlock, manifest } from "../support/airlock.ts";
import { testInEachTier } from "../support/tiers.ts";

const greedy = `
export const actions = {
  async take({ file, port }) {
    const tries = {
      readGranted: () => Deno.readTextFile(file),
      read: () => Deno.readTextFile("/etc/passwd"),
      write: () => Deno.writeTextFile("/tmp/taken", "x"),
      net: () => Deno.connect({ hostname: "127.0.0.1", port }),
      listen: () => Deno.listen({ port: 0 }),
      fetch: () => fetch("http://127.0.0.1:" + port),
      resolve: () => Deno.resolveDns("example.com", "A"),
      run: () => new Deno.Command("/usr/bin/git").output(),
      shell: () => new Deno.Command("/bin/sh").output(),
      env: () => Deno.env.get("HOME"),
      sys: () => Deno.hostname(),
      ffi: () => Deno.dlopen("/usr/lib/libc.so.6", {}),
      npm: () => import("npm:" + "zod@4.6.7"),
      https: () => import("https://" + "example.com/mod.ts"),
      jsr: () => import("jsr:" + "@std/assert"),
      file: () => import("file:///etc/" + "passwd"),
      eval: () => new Function("return 1")(),
    };
    const outcomes = {};
    for (const [name, act] of Object.entries(tries)) {
      try { await act(); outcomes[name] = "done"; } catch (error) { outcomes[name] = error.name + ": " + error.message; }
    }
    return outcomes;
  },
  async own({ packageDir }, ctx) {
    await Deno.writeTextFile(ctx.dataDir + "/x", "kept");
    const permissions = {};
    for (const name of ["net", "read", "write", "run", "env", "sys", "ffi", "import"]) {
      permissions[name] = (await Deno.permissions.query({ name })).state;
    }
    return { text: await Deno.readTextFile(ctx.dataDir + "/x"), permissions };
  },
};
`;
const everything = {
  ...{
    net: ["*:443", "127.0.0.1:80", "localhost:8080", "api.example.com:443"],
    read: ["*", "/etc"],
    write: ["*", "/tmp"],
  },
  ...{
    run: ["git", "/bin/sh"],
    env: ["HOME", "AWS_*"],
    sys: ["hostname"],
    ffi: ["/usr/lib/libc.so.6"],
    eval: true,
  },
};
const plugins = {
  greedy: {
    "plugin.jsonc": manifest("greedy", { actions: { take: {}, own: {} }, capabilities: everything }),
    "mod.ts": greedy,
  },
};

testInEachTier(
  "deny by default: a full request without an operator's grant gives the defaults only",
  async (tier) => {
    await using airlock = await Airlock.start({ plugins, args: ["--tier", tier] });
    const { granted } = await airlock.plugin("greedy");
    const dataDir = `${airlock.dataDir}/plugins/greedy`;
    equal(granted.read?.length, 2);
    ok(
      granted.read?.includes(dataDir) &&
        granted.read.some((path) => path.startsWith(`${airlock.dataDir}/packages/`)),
    );
    const { net, write, run, env, sys, ffi, eval: evaluates } = granted;
    deepEqual({ net, write, run, env, sys, ffi, evaluates }, {
      ...{
        net: ["api.example.com:443"],
        write: [dataDir],
        run: [],
        env: [],
        sys: [],
        ffi: [],
        evaluates: false,
      },
    });

    const file = `${airlock.dataDir}/admin.token`;
    const outcomes = await airlock.call<Record<string, string>>("greedy", "take", {
      file,
      port: Number(new URL(airlock.url).port),
    });
    const { eval: evalOutcome = "", npm = "", https = "", jsr = "", file: module = "", ...denied } = outcomes;
    for (const [name, outcome] of Object.entries(denied)) match(outcome, /^NotCapable: /, name);
    match(evalOutcome, /^EvalError: /);

    for (const outcome of [npm, https, jsr, module]) {
      match(outcome, /^TypeError: .*(?:--no-npm|import access|read access)/);
    }

    const own = await airlock.call<{ text: string; permissions: Record<string, string> }>("greedy", "own");
    equal(own.text, "kept");
    for (const state of Object.values(own.permissions)) ok(state !== "granted");
  },
);

Deno.test("deny by default: an operator cannot grant more than was requested, nor without a scope", async () => {
  await using airlock = await Airlock.start({ plugins });
  const refused: Record<string, unknown>[] = [
    { read: ["/"] },
    { read: ["*"] },
    { read: ["/proc"] },
    { read: [airlock.dataDir] },
    { write: [`${airlock.dataDir}/ledger`] },
    { read: [airlock.dataDir.slice(0, airlock.dataDir.lastIndexOf("/"))] },
    { write: [new URL("../..", import.meta.url).pathname] },
    { net: ["*"] },
    { net: ["example.com"] },
    { net: ["127.0.0.1:81"] },
    { run: ["git"] },
    { run: ["/bin/bash"] },
    { env: ["*"] },
    { env: ["PATH"] },
    { sys: ["osRelease"] },
    { ffi: ["/usr/lib/other.so"] },
  ];
  const { granted } = await airlock.plugin("greedy");
  for (const grants of refused) {
    const { status, body } = await airlock.request<Problem>("PUT", "/v1/plugins/greedy/grants", grants);
    deepEqual([status, body.code], [422, "GRANT_REFUSED"], JSON.stringify(grants));
  }
  const { status, body } = await airlock.request<Problem>("PUT", "/v1/plugins/hello/grants", {
    read: ["/srv"],
  });
  deepEqual([status, body.code], [422, "GRANT_REFUSED"]);
  deepEqual((await airlock.plugin("greedy")).granted, granted);
  const refusals = (await airlock.records()).filter(({ type, data }) =>
    type === "request.refused" && data["code"] === "GRANT_REFUSED"
  );
  equal(refusals.length, refused.length + 1);
});

/**
 * Grants: without one Deno refuses, with one it gives exactly that resource and not its neighbour.
 *
 * @module
 */
import { deepEqual, equal, match, ok } from "node:assert/strict";
import type { Isolation } from "../../schemas/capabilities.ts";
import type { Problem } from "../../schemas/problem.ts";
import { Airlock } from "../support/airlock.ts";
import { testInEachTier, testSealed } from "../support/tiers.ts";
import { checkRows, listenOnNeighbours, makeResources, probePackage, type Row, runIn } from "./support.ts";
import type { Outcome } from "./probe/mod.ts";

const libraries = "/usr/lib/x86_64-linux-gnu";
/** What asks for everything that can be asked for, in words that leave the choice to the operator. */
const everything = {
  ...{ net: ["*"], read: ["*"], write: ["*"], run: ["*"], env: ["*"], ffi: ["*"], eval: true },
  sys: ["hostname", "osRelease", "loadavg", "networkInterfaces", "systemMemoryInfo", "uid"],
};
const hostEnvironment = { PROBE_GRANTED: "granted", PROBE_GRANTED_NOT: "secret" };

/** Everything that a plugin might reach for. Each row is refused unless it is granted. */
function attempts(
  airlock: Airlock,
  places: { resources: string; port: number; next: number; kernel: number },
): Row[] {
  const { resources, port, next, kernel } = places;
  const { dataDir, runFolder } = airlock;
  const refused = "NotCapable";
  return [
    ["fetch", { url: `http://127.0.0.1:${port}/` }, refused],
    ["connect", { hostname: "127.0.0.1", port: `${port}` }, refused],
    ["connect", { hostname: "127.0.0.1", port: `${next}` }, refused],
    ["fetch", { url: `${airlock.url}/healthz` }, refused],
    ["listen", { port: "0" }, refused],
    ["resolve", { name: "example.com" }, refused],
    ["connectUnix", { path: `${runFolder}/s` }, refused],
    ["read", { path: `${resources}/a/file` }, refused],
    ["read", { path: `${resources}/one` }, refused],
    ["readByNode", { path: `${resources}/one` }, refused],
    ["fetch", { url: `file://${resources}/one` }, refused],
    // Not even whether it exists.
    ["read", { path: `${resources}/nothing` }, refused],
    ["stat", { path: `${resources}/one` }, refused],
    ["list", { path: resources }, refused],
    ["read", { path: "/etc/passwd" }, refused],
    ["read", { path: "/proc/self/environ" }, refused],
    ["read", { path: `/proc/${kernel}/cmdline` }, refused],
    ["read", { path: `${dataDir}/admin.token` }, refused],
    ["read", { path: `${dataDir}/airlock.db` }, refused],
    ["list", { path: `${dataDir}/plugins` }, refused],
    ["list", { path: `${dataDir}/plugins/hello` }, refused],
    ["write", { path: `${resources}/a/new`, text: "x" }, refused],
    ["write", { path: `${resources}/one`, text: "x" }, refused],
    ["remove", { path: `${resources}/one` }, refused],
    ["chmod", { path: `${resources}/one` }, refused],
    ["write", { path: `${dataDir}/admin.token`, text: "x" }, refused],
    ["run", { program: "/usr/bin/env" }, refused],
    ["run", { program: Deno.execPath(), args: '["eval", "1"]' }, refused],
    ["runByNode", { program: "/usr/bin/env" }, refused],
    ["signal", { pid: `${kernel}` }, refused],
    ["signal", { pid: `${airlock.pid}` }, refused],
    ["signalByNode", { pid: `${kernel}` }, refused],
    ["env", { name: "PROBE_GRANTED" }, refused],
    ["env", { name: "PATH" }, refused],
    ["allEnv", {}, refused],
    ...["hostname", "osRelease", "loadavg", "networkInterfaces", "systemMemoryInfo", "uid"].map(
      (kind): Row => ["sys", { kind }, refused],
    ),
    ["dlopen", { path: `${libraries}/libm.so.6` }, refused],
    ["evaluate", { code: "1 + 1" }, "EvalError"],
    ["construct", { code: "1 + 1" }, "EvalError"],
    ["nestedWorker", { permissions: '{"read":true}', code: "postMessage(1)" }, refused],
    ["nestedWorker", { permissions: '{"net":["127.0.0.1"]}', code: "postMessage(1)" }, refused],
    ["nestedWorker", { permissions: '{"run":true}', code: "postMessage(1)" }, refused],
    ["permission", { descriptor: '{"name":"read"}' }, "denied"],
    ["permission", { descriptor: '{"name":"net","host":"example.com"}' }, "denied"],
  ];
}

/** Imports of code from outside are refused with other classes than Deno's own refusals. */
async function checkImports(airlock: Airlock, plugin: string, port: number): Promise<void> {
  const refusals: [specifier: string, name: string, message: RegExp][] = [
    ["npm:is-odd", "TypeError", /--no-npm is specified/],
    ["npm:zod@4.6.7", "TypeError", /--no-npm is specified/],
    ["https://example.com/mod.ts", "TypeError", /Requires import access to "example.com:443"/],
    [`http://127.0.0.1:${port}/mod.js`, "TypeError", /Requires import access to "127.0.0.1/],
    ["jsr:@std/assert", "TypeError", /Requires import access to "jsr.io:443"/],
    ["file:///etc/passwd", "TypeError", /Requires read access to "\/etc\/passwd"/],
  ];
  for (const [specifier, name, message] of refusals) {
    const outcome = await airlock.call<Outcome>(plugin, "import", { specifier });
    ok(!outcome.done, `${plugin} imported ${specifier}`);
    equal(outcome.name, name);
    match(outcome.message, message);
  }
  await checkRows(airlock, plugin, [["import", { specifier: "data:text/javascript,export const own=1" }, [
    "own",
  ]]]);
}

interface Setup extends AsyncDisposable {
  readonly airlock: Airlock;
  readonly places: { resources: string; port: number; next: number; kernel: number };
}

async function start(
  tier: Isolation,
  plugins: Record<string, Record<string, string>>,
  grants: (places: { resources: string; port: number }) => Record<string, unknown>,
): Promise<Setup> {
  const stack = new AsyncDisposableStack();
  const { path: resources } = stack.use(await makeResources());
  const { port, next } = stack.use(await listenOnNeighbours());
  const airlock = stack.use(
    await Airlock.start({
      args: ["--tier", tier],
      env: hostEnvironment,
      plugins,
      config: { grants: grants({ resources, port }) },
    }),
  );
  await airlock.call("hello", "greet", { name: "a neighbour" }); // so that it has a folder
  const places = { resources, port, next, kernel: await airlock.kernelPid() };
  return { airlock, places, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

testInEachTier("a plugin without a grant reaches nothing, whatever it requests", async (tier) => {
  const plugins = {
    bare: probePackage("bare"),
    asking: probePackage("asking", { capabilities: everything }),
  };
  await using setup = await start(tier, plugins, () => ({}));
  const { airlock, places } = setup;
  for (const plugin of Object.keys(plugins)) {
    await checkRows(airlock, plugin, attempts(airlock, places));
    await checkImports(airlock, plugin, places.port);
  }
});

testInEachTier("a plugin with grants reaches exactly what was granted", async (tier) => {
  const { run: _run, ffi: _ffi, ...requested } = everything;
  const plugins = { granted: probePackage("granted", { capabilities: requested }) };
  await using setup = await start(tier, plugins, ({ resources, port }) => ({
    granted: {
      net: [`127.0.0.1:${port}`],
      read: [`${resources}/a`, `${resources}/one`],
      write: [`${resources}/a`],
      env: ["PROBE_GRANTED"],
      sys: ["hostname"],
      eval: true,
    },
  }));
  const { airlock, places } = setup;
  const { resources, port } = places;
  const hostname = tier === "sealed" ? "cell" : Deno.hostname();
  const granted: Row[] = [
    ["fetch", { url: `http://127.0.0.1:${port}/` }, `${port}`],
    ["connect", { hostname: "127.0.0.1", port: `${port}` }, null],
    ["read", { path: `${resources}/a/file` }, "a/file"],
    ["read", { path: `${resources}/one` }, "one"],
    ["readByNode", { path: `${resources}/one` }, "one"],
    ["fetch", { url: `file://${resources}/one` }, "one"],
    ["stat", { path: `${resources}/one` }, 3],
    ["write", { path: `${resources}/a/new`, text: "x" }, null],
    ["env", { name: "PROBE_GRANTED" }, "granted"],
    ["sys", { kind: "hostname" }, hostname],
    ["evaluate", { code: "1 + 1" }, 2],
    ["construct", { code: "1 + 1" }, 2],
  ];
  const key = ([action, input]: Row) => JSON.stringify([action, input]);
  const isGranted = new Map(granted.map((row) => [key(row), row]));
  await checkRows(airlock, "granted", attempts(airlock, places).map((row) => isGranted.get(key(row)) ?? row));
  await checkRows(airlock, "granted", neighbours(places));
  await checkImports(airlock, "granted", port);
  equal(await Deno.readTextFile(`${resources}/a/new`), "x");
  equal(await Deno.readTextFile(`${resources}/one`), "one");
});

testInEachTier("a plugin reaches a private name that its operator granted", async (tier) => {
  const plugins = { named: probePackage("named", { capabilities: { net: ["*"] } }) };
  await using setup = await start(tier, plugins, ({ port }) => ({ named: { net: [`localhost:${port}`] } }));
  const { airlock, places: { port } } = setup;
  await checkRows(airlock, "named", [["fetch", { url: `http://localhost:${port}/` }, `${port}`]]);
});

/** What lies next to what is granted, under another name or by another way. */
function neighbours({ resources, port, next }: { resources: string; port: number; next: number }): Row[] {
  const refused = "NotCapable";
  return [
    ["fetch", { url: `http://127.0.0.1:${next}/` }, refused],
    ["fetch", { url: `http://localhost:${port}/` }, refused],
    ["fetch", { url: `http://127.0.0.2:${port}/` }, refused],
    ["fetch", { url: `http://[::1]:${port}/` }, refused],
    ["listen", { port: `${next}` }, refused],
    ["read", { path: `${resources}/ab/file` }, refused],
    ["read", { path: `${resources}/a/../ab/file` }, refused],
    ["read", { path: `${resources}/one2` }, refused],
    ["list", { path: `${resources}/ab` }, refused],
    ["write", { path: `${resources}/ab/new`, text: "x" }, refused],
    ["write", { path: `${resources}/a/../one`, text: "x" }, refused],
    ["rename", { from: `${resources}/a/file`, to: `${resources}/ab/moved` }, refused],
    ["symlink", { target: "/etc/passwd", path: `${resources}/a/link` }, refused],
    ["link", { target: "/etc/passwd", path: `${resources}/a/link` }, refused],
    ["link", { target: `${resources}/one2`, path: `${resources}/a/link` }, refused],
    ["env", { name: "PROBE_GRANTED_NOT" }, refused],
    ["env", { name: "PROBE_GRANTE" }, refused],
    // It has what its parent has, and no more.
    [
      "nestedWorker",
      { permissions: `{"read":["${resources}/ab"]}`, code: "postMessage(1)" },
      refused,
    ],
    [
      "nestedWorker",
      {
        permissions: '"inherit"',
        code: `try { Deno.readTextFileSync("${resources}/one2") } catch (error) { postMessage(error.name) }`,
      },
      refused,
    ],
  ];
}

testSealed(
  "a plugin with a run or ffi grant starts that program and loads that library alone (sealed)",
  async () => {
    const plugins = { granted: probePackage("granted", { capabilities: everything }) };
    const library = `${libraries}/libm.so.6`;
    await using setup = await start("sealed", plugins, () => ({
      granted: { run: ["/usr/bin/env"], ffi: [library] },
    }));
    const { airlock } = setup;
    equal((await runIn(airlock, "granted", "/usr/bin/env")).code, 0);
    await checkRows(airlock, "granted", [
      ["run", { program: "/usr/bin/cat", args: '["/etc/hostname"]' }, "NotCapable"],
      ["run", { program: "/usr/bin/../bin/cat" }, "NotCapable"],
      ["dlopen", { path: library }, 1],
      ["dlopen", { path: `${libraries}/libdl.so.2` }, "NotCapable"],
      ["dlopen", { path: "libm.so.6" }, "NotCapable"],
    ]);
  },
);

Deno.test("run and ffi are refused in the process tier, before anything starts", async () => {
  await using setup = await start("process", {
    runner: probePackage("runner", { capabilities: { run: ["env"] } }),
    loader: probePackage("loader", { capabilities: { ffi: ["*"] } }),
  }, () => ({ runner: { run: ["/usr/bin/env"] }, loader: { ffi: [`${libraries}/libm.so.6`] } }));
  for (const plugin of ["runner", "loader"]) {
    equal((await setup.airlock.fail(plugin, "readStdin")).code, "ISOLATION_REQUIRED");
    equal((await setup.airlock.plugin(plugin)).pid, null);
  }
});

testInEachTier("new grants hold for the next call, although calls come all the time", async (tier) => {
  await using setup = await start(
    tier,
    { granted: probePackage("granted", { capabilities: everything }) },
    () => ({}),
  );
  const { airlock, places } = setup;
  const path = `${places.resources}/one`;
  let isOver = false;
  const callers = Array.from({ length: 3 }, async () => {
    while (!isOver) await airlock.call("granted", "readStdin");
  });
  try {
    for (const expected of ["one", "NotCapable", "one", "NotCapable"]) {
      const grants = expected === "one" ? { read: [path] } : {};
      equal((await airlock.request("PUT", "/v1/plugins/granted/grants", grants)).status, 200);
      await checkRows(airlock, "granted", [["read", { path }, expected]]);
    }
  } finally {
    isOver = true;
    await Promise.all(callers);
  }
});

testInEachTier("a plugin's own folder is its to use, and no way out of it", async (tier) => {
  await using setup = await start(tier, { bare: probePackage("bare") }, () => ({}));
  const { airlock, places } = setup;
  const own = `${airlock.dataDir}/plugins/bare`;
  await checkRows(airlock, "bare", [["write", { path: `${own}/note`, text: "mine" }, null]]);
  await Deno.symlink(`${places.resources}/one`, `${own}/link`);
  await checkRows(airlock, "bare", [
    ["read", { path: `${own}/note` }, "mine"],
    ["read", { path: `${own}/../hello` }, "NotCapable"],
    ["symlink", { target: `${places.resources}/one`, path: `${own}/made` }, "NotCapable"],
    ["link", { target: `${places.resources}/one`, path: `${own}/made` }, "NotCapable"],
    ["rename", { from: `${own}/note`, to: `${places.resources}/note` }, "NotCapable"],
    ["rename", { from: `${places.resources}/one`, to: `${own}/one` }, "NotCapable"],
    // Deno follows a link that somebody else put there; in a sealed cell its target does not exist.
    ["read", { path: `${own}/link` }, tier === "sealed" ? "NotFound" : "one"],
  ]);
});

testInEachTier(
  "the cell's stdin is empty, and a pattern that backtracks exponentially costs little",
  async (tier) => {
    await using setup = await start(tier, { bare: probePackage("bare") }, () => ({}));
    const startedMs = performance.now();
    await checkRows(setup.airlock, "bare", [
      ["readStdin", {}, null],
      ["backtrack", { text: `${"a".repeat(40)}!` }, false],
    ]);
    ok(performance.now() - startedMs < 2_000);
  },
);

// In it are the cells' socket and, in the process tier, the temporary folders of other cells.
testInEachTier("the folder of the cells' socket is not granted, nor what lies above it", async (tier) => {
  await using setup = await start(
    tier,
    { granted: probePackage("granted", { capabilities: everything }) },
    () => ({}),
  );
  const { airlock } = setup;
  const { runFolder } = airlock;
  for (const path of [runFolder, `${runFolder}/s`, runFolder.slice(0, runFolder.lastIndexOf("/"))]) {
    for (const kind of ["read", "write"]) {
      const grants = { [kind]: [path] };
      const { status, body } = await airlock.request<Problem>("PUT", "/v1/plugins/granted/grants", grants);
      deepEqual([path, status, body.code], [path, 422, "GRANT_REFUSED"]);
    }
  }
});

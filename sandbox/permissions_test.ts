import { deepEqual, equal, throws } from "node:assert/strict";
import fc from "fast-check";
import { type Grants, permissionNames } from "../schemas/capabilities.ts";
import { processFlags, workerPermissions } from "./permissions.ts";

const none: Grants = { net: [], read: [], write: [], run: [], env: [], sys: [], ffi: [], eval: false };
const needs = { readable: ["/opt/airlock/cell"], socket: "/tmp/airlock-1/s" };

Deno.test("workerPermissions() names every key and grants nothing by default", () => {
  deepEqual(workerPermissions(none), {
    ...{
      env: false,
      ffi: false,
      import: false,
      net: false,
      read: false,
      run: false,
      sys: false,
      write: false,
    },
  });
});

Deno.test("workerPermissions() gives the grants and nothing of what the cell itself needs", () => {
  const grants: Grants = { ...none, read: ["/srv/a"], net: ["a.example.com:443"], eval: true };
  deepEqual(workerPermissions(grants), {
    ...{ env: false, ffi: false, import: false, net: ["a.example.com:443"], read: ["/srv/a"] },
    ...{ run: false, sys: false, write: false },
  });
});

Deno.test("processFlags() gives the cell's program its own files and its socket, and nothing else", () => {
  deepEqual(processFlags(none, needs), [
    "--allow-net=unix:/tmp/airlock-1/s",
    "--allow-read=/opt/airlock/cell,/tmp/airlock-1/s",
    "--allow-write=/tmp/airlock-1/s",
  ]);
});

Deno.test("processFlags() names each grant once and never a flag without a scope", () => {
  const scope = fc.stringMatching(/^\/[a-z][a-z/]{0,8}$/);
  const lists = fc.record(Object.fromEntries(permissionNames.map((name) => [name, fc.array(scope)])));
  fc.assert(fc.property(lists, (grants) => {
    const given: Grants = { ...none, ...grants };
    const flags = processFlags(given, needs);
    for (const flag of flags) {
      const [name, scopes = ""] = flag.replace("--allow-", "").split("=");
      equal(scopes.split(",").includes(""), false);
      const granted = given[name as keyof Omit<Grants, "eval">];
      deepEqual(scopes.split(",").slice(0, granted.length), granted);
    }
    // A grant that is empty must not become `--allow-run`, which grants everything.
    for (const name of permissionNames.filter((name) => !["net", "read", "write"].includes(name))) {
      equal(flags.some((flag) => flag.startsWith(`--allow-${name}`)), given[name].length > 0);
    }
  }));
});

Deno.test("processFlags() throws for a scope with a comma: it would be read as two", () => {
  for (const name of permissionNames) {
    throws(
      () => processFlags({ ...none, [name]: ["/srv/a,/etc"] }, needs),
      /cannot name a scope with a comma/,
    );
  }
});

const allDenied = "--deny-net=0.0.0.0/8,10.0.0.0/8,100.64.0.0/10,127.0.0.0/8,169.254.0.0/16,172.16.0.0/12," +
  "192.168.0.0/16,[::],[::1]";

Deno.test("processFlags() denies private addresses, which a public name can resolve to", () => {
  for (const net of [["a.example.com:443"], ["8.8.8.8:53", "[2606:4700::1111]:853"], ["172.32.0.1:80"]]) {
    equal(processFlags({ ...none, net }, needs).at(-1), allDenied);
  }
  equal(processFlags(none, needs).some((flag) => flag.startsWith("--deny")), false);
});

Deno.test("processFlags() leaves open the private range of an address that was granted", () => {
  const cases: [scope: string, range: string][] = [
    ["127.0.0.1:8080", "127.0.0.0/8"],
    ["192.168.7.255:80", "192.168.0.0/16"],
    ["172.31.0.1", "172.16.0.0/12"],
    ["100.127.1.1:80", "100.64.0.0/10"],
    ["[::1]:8080", "[::1]"],
    ["[::ffff:a00:1]:80", "10.0.0.0/8"],
  ];
  for (const [scope, range] of cases) {
    const flag = processFlags({ ...none, net: ["a.example.com:443", scope] }, needs).at(-1) ?? "";
    const denied = (text: string) => text.replace("--deny-net=", "").split(",");
    deepEqual(denied(flag), denied(allDenied).filter((each) => each !== range));
  }
});

Deno.test("processFlags() denies no address where a private name was granted", () => {
  for (const name of ["localhost:8080", "db.internal:5432", "printer:631"]) {
    const flags = processFlags({ ...none, net: ["a.example.com:443", name] }, needs);
    equal(flags.some((flag) => flag.startsWith("--deny")), false);
  }
});

Deno.test("Deno checks a denied address again when a granted name resolves to it, for a Worker too", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const scope = `localhost:${listener.addr.port}`;
  const folder = await Deno.makeTempDir({ prefix: "permissions-" });
  const inner = `postMessage(await Deno.connect({ hostname: "localhost", port: ${listener.addr.port} })
    .then((connection) => { connection.close(); return "connected"; }, (error) => error.name));`;
  const permissions = { net: [scope] };
  const outer = `const options = { type: "module", deno: { permissions: ${JSON.stringify(permissions)} } };
    const worker = new Worker(${
    JSON.stringify(`data:text/javascript,${encodeURIComponent(inner)}`)
  }, options);
    worker.onmessage = ({ data }) => { console.log(data); worker.terminate(); };`;
  await Deno.writeTextFile(`${folder}/outer.js`, outer);
  const run = async (flags: string[]) => {
    const { stdout } = await new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "--no-prompt",
        "--unstable-worker-options",
        `--allow-net=${scope}`,
        ...flags,
        `${folder}/outer.js`,
      ],
    }).output();
    return new TextDecoder().decode(stdout).trim();
  };
  equal(await run([]), "connected");
  equal(await run([allDenied]), "NotCapable");
  await Deno.remove(folder, { recursive: true });
});

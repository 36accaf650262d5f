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

import assert from "node:assert/strict";
import type { PermissionCheck } from "../../schemas/audit.ts";
import { createJudge, type JudgedCheck } from "./permission_outcome.ts";

const packageFolder = "/var/airlock/packages/ab12";
const dataFolder = "/var/airlock/plugins/hello";
const grants = {
  net: ["127.0.0.1:9999", "[::1]:80", "api.example.com:443"],
  read: [packageFolder, dataFolder, "/srv", "/srv/models/large"],
  write: [dataFolder],
  run: ["/usr/bin/git"],
  env: ["TZ"],
  sys: ["hostname", "userInfo"],
  ffi: [`${packageFolder}/a.so`],
  eval: false,
};

type Row = [
  permission: PermissionCheck["permission"],
  resource: string | null,
  ...rest: [string | null, ...string[]],
];

/** What Deno names, how it is shown, and the scope that covers it; without one it is refused. */
const rows: Row[] = [
  ["read", "/srv/a/../b//c/", "/srv/b/c", "/srv"],
  ["read", "/srv/models/large/x", "/srv/models/large/x", "/srv/models/large"],
  ["read", "/srvx", "/srvx"],
  ["read", "/srv/..", "/"],
  ["read", `${packageFolder}/mod.ts`, "${package}/mod.ts", "${package}"],
  ["read", dataFolder, "${data}", "${data}"],
  ["read", `${dataFolder}x`, `${dataFolder}x`],
  ["write", `${dataFolder}/note`, "${data}/note", "${data}"],
  ["write", `${packageFolder}/mod.ts`, "${package}/mod.ts"],
  ["write", "<TMP>", "<TMP>"],
  ["ffi", `${packageFolder}/a.so`, "${package}/a.so", "${package}/a.so"],
  ["ffi", "libm.so.6", "libm.so.6"],
  ["net", "http://127.0.0.1:9999/x?y", "127.0.0.1:9999", "127.0.0.1:9999"],
  ["net", "127.0.0.1:9999", "127.0.0.1:9999", "127.0.0.1:9999"],
  ["net", "http://[::1]/", "[::1]:80", "[::1]:80"],
  ["net", "wss://API.example.com./q", "api.example.com:443", "api.example.com:443"],
  ["net", "http://api.example.com/", "api.example.com:80"],
  ["net", "0.0.0.0:0", "0.0.0.0:0"],
  ["net", "unix:/run/s", "unix:/run/s"],
  ["net", "api.example.com", "api.example.com"],
  ["env", "TZ", "TZ", "TZ"],
  ["env", "tz", "tz"],
  ["env", null, null],
  ["sys", "hostname", "hostname", "hostname"],
  ["sys", "username", "username", "username"],
  ["sys", "uid", "uid"],
  ["import", "api.example.com:443", "api.example.com:443"],
  ["read", null, null],
];

Deno.test("createJudge() gives a resource its one spelling, what came of it, and the narrowest scope", () => {
  for (const [permission, resource, shown, scope = null] of rows) {
    const expected: JudgedCheck = {
      resource: shown,
      outcome: scope === null ? "refused" : "granted",
      scope,
    };
    const judge = createJudge({ grants, packageFolder, dataFolder });
    assert.deepEqual(judge({ permission, resource }), expected, `${permission} ${resource}`);
  }
});

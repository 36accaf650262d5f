import assert from "node:assert/strict";
import fc from "fast-check";
import {
  capabilitiesSchema,
  grantsSchema,
  type PermissionName,
  permissionNames,
} from "../../schemas/capabilities.ts";
import { ProblemError } from "../../schemas/problem.ts";
import { computeGrants, sysKinds } from "./grants.ts";

const forbidden = ["/var/airlock/data", "/opt/airlock/code"];
const packageFolder = "/var/airlock/data/packages/ab12";
const dataFolder = "/var/airlock/data/plugins/hello";

const scopeTexts: Record<PermissionName, fc.Arbitrary<string>> = {
  net: fc.constantFrom(
    "*",
    "*:443",
    "*.b.com:443",
    "a.b.com:443",
    "a.b.com",
    "B.com:443",
    "127.0.0.1:443",
    "localhost:1",
  ),
  read: fc.constantFrom(
    "*",
    "/",
    "/srv",
    "/srv/a",
    "/srvx",
    "/var",
    "/var/airlock/data/x",
    "${data}/a",
    "/opt/airlock",
  ),
  write: fc.constantFrom(
    "*",
    "/",
    "/srv",
    "/srv/a",
    "/var/airlock/data",
    "${package}",
    "${data}",
    "/srv/../var",
  ),
  run: fc.constantFrom("*", "git", "/usr/bin/git", "/bin/sh", "/opt/airlock/code/git"),
  env: fc.constantFrom("*", "A*", "AB", "B", "LD_X"),
  sys: fc.constantFrom("*", ...sysKinds.slice(0, 4), "nonsense"),
  ffi: fc.constantFrom("*", "/usr/lib/a.so", "${package}/a.so", "${data}/a.so", "/var/airlock/data/a.so"),
};
const scopeLists = fc.record(
  Object.fromEntries(
    permissionNames.map((name) => [name, fc.array(scopeTexts[name], { maxLength: 3 })]),
  ) as Record<
    PermissionName,
    fc.Arbitrary<string[]>
  >,
);

/** An independent reading of "never more than requested": the request as a regular expression. */
function requestPattern(name: PermissionName, requested: string): RegExp {
  const literal = requested.toLowerCase().split("*").map(RegExp.escape).join(".+");
  if (name === "net") return new RegExp(`^${literal}${/:\d+$/.test(requested) ? "" : ":\\d+"}$`);
  if (name === "read" || name === "write") {
    return new RegExp(`^${literal === "\\/" ? "" : literal}(/.*)?$`, "i");
  }
  if (name === "run") return new RegExp(`(^|/)${literal}$`, "i");
  return new RegExp(`^${literal}$`, "i");
}

Deno.test("computeGrants() never gives more than requested, nor a forbidden path", () => {
  fc.assert(
    fc.property(
      scopeLists,
      scopeLists,
      fc.boolean(),
      fc.boolean(),
      (wanted, chosen, wantsEval, givesEval) => {
        const requested = capabilitiesSchema.parse({ ...wanted, eval: wantsEval });
        let grants;
        try {
          const operator = { ...chosen, eval: givesEval };
          grants = computeGrants({ requested, operator, packageFolder, dataFolder, forbidden });
        } catch (error) {
          assert.ok(error instanceof ProblemError && error.code === "GRANT_REFUSED");
          return;
        }
        assert.deepEqual(grantsSchema.parse(grants), grants);
        assert.ok(!grants.eval || wantsEval && givesEval);
        const given = new Set([packageFolder, dataFolder]);
        for (const name of permissionNames) {
          assert.deepEqual(grants[name], [...new Set(grants[name])].sort());
          for (const grant of grants[name]) {
            assert.ok(!grant.includes("*"), grant);
            if ((name === "read" || name === "write") && given.has(grant)) continue;
            const shown = name === "ffi" ? grant.replace(packageFolder, "${package}") : grant;
            assert.ok(
              wanted[name].some((text) => requestPattern(name, text).test(shown)),
              `${name} ${grant}`,
            );
            for (const folder of forbidden) {
              assert.ok(
                !`${shown}/`.startsWith(`${folder}/`) && !`${folder}/`.startsWith(`${shown}/`),
                shown,
              );
            }
          }
        }
        assert.ok(!grants.write.includes(packageFolder));
      },
    ),
    { numRuns: 2_000 },
  );
});

import assert from "node:assert/strict";
import fc from "fast-check";
import { computeGrants } from "../kernel/trust/grants.ts";
import { createJudge } from "../kernel/trust/permission_outcome.ts";
import { type AuditItem, auditItemSchema, resourceCharsMax } from "../schemas/audit.ts";
import { capabilitiesSchema, type OperatorGrants, permissionNames } from "../schemas/capabilities.ts";
import { trimGrants } from "./trim_grants.ts";

const everything = capabilitiesSchema.parse({
  ...{ net: ["*", "public.example:443"], read: ["*", "${data}"], write: ["*"], run: ["*"] },
  ...{ env: ["*"], sys: ["*"], ffi: ["*", "${package}"], eval: true },
});
const folders = { packageFolder: "/var/packages/ab", dataFolder: "/var/plugins/hello" };
const grantsOf = (operator: OperatorGrants) =>
  computeGrants({ requested: everything, operator, ...folders, forbidden: ["/var"] });

function item(
  permission: AuditItem["permission"],
  resource: string | null,
  outcome: AuditItem["outcome"],
): AuditItem {
  const at = "2026-11-20T10:00:00.000Z";
  return auditItemSchema.parse({ permission, resource, outcome, count: 1, firstAt: at, lastAt: at });
}
const used = (permission: AuditItem["permission"], ...resources: string[]) =>
  resources.map((resource) => item(permission, resource, "granted"));
const trim = (operator: OperatorGrants, items: readonly AuditItem[]) =>
  trimGrants(operator, items, grantsOf(operator));
const numbered = (count: number, name: (at: number) => string) =>
  Array.from({ length: count }, (_, at) => name(at));

/** What was granted, what was used of it, what is proposed. */
const rows: [what: string, operator: OperatorGrants, items: readonly AuditItem[], grants: OperatorGrants][] =
  [
    ["drops what was not used", { read: ["/srv/a", "/srv/b"], env: ["TZ", "HOME"] }, [
      ...used("read", "/srv/a"),
      ...used("env", "TZ"),
    ], { read: ["/srv/a"], env: ["TZ"] }],
    ["drops what was only refused", { read: ["/srv/a"] }, [item("read", "/srv/a/x", "refused")], {}],
    [
      "narrows a folder that was read to the files",
      { read: ["/srv/a/"] },
      used("read", "/srv/a/x", "/srv/a/b/y"),
      {
        read: ["/srv/a/b/y", "/srv/a/x"],
      },
    ],
    [
      "leaves out a file in a folder that was used",
      { read: ["/srv"] },
      used("read", "/srv/a", "/srv/a/x", "/srv/ab"),
      {
        read: ["/srv/a", "/srv/ab"],
      },
    ],
    [
      "narrows to the folder of many files",
      { read: ["/srv"] },
      used("read", ...numbered(17, (at) => `/srv/a/b${at % 2}/${at}`)),
      { read: ["/srv/a"] },
    ],
    [
      "narrows what was written to its folder",
      { write: ["/srv"] },
      used("write", "/srv/a/x/1", "/srv/a/y/2"),
      {
        write: ["/srv/a"],
      },
    ],
    ["keeps a file that was written", { write: ["/srv/file"] }, used("write", "/srv/file"), {
      write: ["/srv/file"],
    }],
    [
      "takes the narrowest of scopes that lie in each other",
      { read: ["/srv", "/srv/a"] },
      used("read", "/srv/a"),
      {
        read: ["/srv/a"],
      },
    ],
    [
      "keeps a scope whose resources were not told apart",
      { read: ["/srv", "/etc/x"] },
      used("read", "/srv/a", "/srv/*"),
      {
        read: ["/srv"],
      },
    ],
    ["keeps what lies in a scope of before", { read: ["/srv/a", "/etc/x"] }, used("read", "/srv/*"), {
      read: ["/srv/a"],
    }],
    [
      "names the folder of what no grant can name",
      { read: ["/srv"] },
      used("read", "/srv/a,b/x", "/srv/c/*x"),
      {
        read: ["/srv"],
      },
    ],
    [
      "names the folder of a name that was cut",
      { read: ["/srv"] },
      used("read", `/srv/a/${"x".repeat(resourceCharsMax - 8)}…`),
      {
        read: ["/srv/a"],
      },
    ],
    [
      "leaves to the defaults what they give",
      { read: ["${data}"] },
      used("read", "${data}/x", "${package}/mod.ts"),
      {},
    ],
    ["compares hosts in their one spelling", { net: ["LOCALHOST:80", "[0::1]:80", "b.local:1"] }, [
      ...used("net", "localhost:80", "[::1]:80"),
    ], { net: ["LOCALHOST:80", "[0::1]:80"] }],
    ["keeps either name of a kind that has two", { sys: ["userInfo", "uid"] }, used("sys", "username"), {
      sys: ["userInfo"],
    }],
    ["narrows a folder of libraries", { ffi: ["/usr/lib"] }, used("ffi", "/usr/lib/a.so"), {
      ffi: ["/usr/lib/a.so"],
    }],
    ["keeps run and eval, of which nothing is told", { run: ["/usr/bin/git"], eval: true }, [], {
      run: ["/usr/bin/git"],
      eval: true,
    }],
  ];

for (const [what, operator, items, grants] of rows) {
  Deno.test(`trimGrants() ${what}`, () => assert.deepEqual(trim(operator, items).grants, grants));
}

Deno.test("trimGrants() says of each scope what becomes of it", () => {
  const operator = { read: ["/srv/a", "/srv/b", "${data}"], run: ["/usr/bin/git"], env: ["TZ"], eval: true };
  const items = [...used("read", "/srv/a/x"), ...used("env", "TZ")];
  assert.deepEqual(trim(operator, items).changes, [
    { permission: "read", scope: "/srv/a", to: ["/srv/a/x"], note: "what was used lies there" },
    { permission: "read", scope: "/srv/b", to: [], note: "not used" },
    { permission: "read", scope: "${data}", to: [], note: "given by default" },
    {
      ...{ permission: "run", scope: "/usr/bin/git", to: ["/usr/bin/git"] },
      note: "Deno tells nothing of the programs that are run",
    },
    { permission: "env", scope: "TZ", to: ["TZ"], note: "used" },
    { permission: "eval", scope: "", to: [""], note: "Deno tells nothing of code from strings" },
  ]);
});

// A kind has 256 scopes at most, and all of them stand in one record of the ledger.
Deno.test("trimGrants() names folders where files would not fit into the grants", () => {
  const operator = { read: numbered(40, (at) => `/srv/${at}`) };
  const items = used("read", ...operator.read.flatMap((scope) => numbered(10, (at) => `${scope}/sub/${at}`)));
  assert.deepEqual(trim(operator, items).grants.read, operator.read.map((scope) => `${scope}/sub`).sort());
  const long = used("read", ...operator.read.map((scope) => `${scope}/${"long/".repeat(100)}x`));
  assert.deepEqual(trim(operator, long).grants.read, operator.read.toSorted());
});

const segment = fc.constantFrom("a", "ab", "b", "c,d", "*", "é");
const path = fc.array(segment, { minLength: 1, maxLength: 4 }).map((parts) => `/srv/${parts.join("/")}`);
const pathScope = path.filter((text) => !/[*,]/.test(text));
const some = <T>(arbitrary: fc.Arbitrary<T>) => fc.uniqueArray(arbitrary, { maxLength: 4 });
const host = fc.constantFrom("localhost:80", "LOCALHOST:81", "[::1]:80", "10.0.0.1:1");
const name = fc.constantFrom("TZ", "HOME", "USER");
const kind = fc.constantFrom("uid", "gid", "userInfo", "username");
const operatorArbitrary: fc.Arbitrary<OperatorGrants> = fc.record({
  ...{ net: some(host), read: some(pathScope), write: some(pathScope), ffi: some(pathScope) },
  ...{ env: some(name), sys: some(kind), run: fc.constantFrom([], ["/usr/bin/git"]), eval: fc.boolean() },
});
const checks = fc.array(
  fc.oneof(
    ...(["read", "write", "ffi"] as const).map((permission) =>
      path.map((resource) => ({ permission, resource }))
    ),
    host.map((resource) => ({ permission: "net" as const, resource: `http://${resource}/` })),
    name.map((resource) => ({ permission: "env" as const, resource })),
    kind.map((resource) => ({ permission: "sys" as const, resource })),
  ),
  { maxLength: 40 },
);

Deno.test("trimGrants() leaves all that was used covered, and gives nothing that was not given", () => {
  fc.assert(
    fc.property(operatorArbitrary, checks, fc.integer({ min: 0, max: 40 }), (operator, asked, toldMax) => {
      const before = grantsOf(operator);
      const judge = createJudge({ grants: before, ...folders });
      // As the audit does it: beyond a number of them, what is granted is told by its scope alone.
      const items = asked.map((check, at) => {
        const { resource, outcome, scope } = judge(check);
        const isTold = at < toldMax || scope === null || scope === resource;
        return item(check.permission, isTold ? resource : `${scope}/*`, outcome);
      });
      const { grants, changes } = trimGrants(operator, items, before);
      const after = grantsOf(grants);
      const judgeAfter = createJudge({ grants: after, ...folders });
      for (const check of asked) {
        assert.equal(judgeAfter(check).outcome, judge(check).outcome, JSON.stringify({ check, grants }));
      }
      for (const permission of permissionNames) {
        for (const resource of after[permission]) {
          assert.equal(judge({ permission, resource }).outcome, "granted", `${permission} ${resource}`);
        }
      }
      assert.ok(!after.eval || before.eval);
      const written = permissionNames.reduce(
        (sum, permission) => sum + (operator[permission]?.length ?? 0),
        0,
      );
      assert.equal(changes.length, written + (operator.eval === true ? 1 : 0));
    }),
    { numRuns: 2_000 },
  );
});

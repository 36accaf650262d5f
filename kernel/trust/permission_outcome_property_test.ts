/**
 * That `createJudge()` says what Deno's own engine says, asked in a Worker that has the permissions of a cell's.
 *
 * @module
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import type { PermissionCheck } from "../../schemas/audit.ts";
import { type Grants, grantsSchema, permissionNames } from "../../schemas/capabilities.ts";
import { workerPermissions } from "../../sandbox/permissions.ts";
import { sysKinds } from "./grants.ts";
import { formatNetScope, parseNetScope } from "../../schemas/net_scope.ts";
import { parsePathScope } from "../../schemas/path_scope.ts";
import { createJudge } from "./permission_outcome.ts";

type Check = Pick<PermissionCheck, "permission" | "resource">;

const segment = fc.constantFrom("srv", "a", "ab", "b", "etc", "data", "é", "a b");
const cleanPath = fc.array(segment, { minLength: 1, maxLength: 3 }).map((parts) => `/${parts.join("/")}`);
const oddPath = fc.tuple(
  fc.array(fc.oneof(segment, fc.constantFrom(".", "..", "")), { minLength: 1, maxLength: 6 }),
  fc.constantFrom("", "/", "//", "/.", "/.."),
).map(([parts, end]) => `/${parts.join("/")}${end}`);
const hostName = fc.constantFrom(
  ...["a.example", "A.Example", "b.a.example", "localhost", "127.0.0.1", "10.0.0.1", "xn--bcher-kva.example"],
  ...["[::1]", "[0:0::1]", "[2001:DB8::1]", "[::ffff:7f00:1]", "[::ffff:127.0.0.1]"],
);
const port = fc.constantFrom("1", "80", "443", "8080");
const hostPort = fc.tuple(hostName, port).map(([name, number]) => `${name}:${number}`);
const oddHost = fc.oneof(
  hostPort,
  hostPort.filter((text) => /^[a-z]/i.test(text)).map((text) => text.replace(":", ".:")),
  cleanPath.map((path) => `unix:${path}`),
);
const envName = fc.constantFrom("HOME", "home", "HOM", "HOME_", "PATH");

const scopeOfNet = hostPort.map((text) => {
  const result = parseNetScope(text);
  assert.ok(result.ok, text);
  return formatNetScope(result.scope);
});
const scopeOfPath = cleanPath.filter((path) => parsePathScope(path).ok);
const some = <T>(scope: fc.Arbitrary<T>) => fc.uniqueArray(scope, { maxLength: 3 });
const grantsArbitrary: fc.Arbitrary<Grants> = fc.record({
  net: some(scopeOfNet),
  read: some(scopeOfPath),
  write: some(scopeOfPath),
  run: fc.constant([]),
  env: some(envName),
  sys: some(fc.constantFrom(...sysKinds)),
  ffi: some(scopeOfPath),
  eval: fc.constant(false),
}).map((grants) => grantsSchema.parse(grants));

const resources: Record<Exclude<PermissionCheck["permission"], "run">, fc.Arbitrary<string>> = {
  net: oddHost,
  read: oddPath,
  write: oddPath,
  env: envName,
  sys: fc.constantFrom(...sysKinds),
  ffi: oddPath,
  import: hostPort,
};
const checkArbitrary: fc.Arbitrary<Check> = fc.oneof(
  ...Object.entries(resources).map(([permission, resource]) =>
    fc.record({
      permission: fc.constant(permission as PermissionCheck["permission"]),
      resource: fc.option(resource, { freq: 20 }),
    })
  ),
);

const names = {
  net: "host",
  read: "path",
  write: "path",
  env: "variable",
  sys: "kind",
  ffi: "path",
} as const;

function descriptorOf({ permission, resource }: Check): Record<string, string> {
  const key = permission === "import" ? "host" : names[permission as keyof typeof names];
  return { name: permission, ...(resource === null ? {} : { [key]: resource }) };
}

/** Answers a line of permissions and descriptors with a line of states, out of a Worker with those permissions. */
const program = `
const inner = "data:text/javascript," + encodeURIComponent(
  "onmessage = ({ data }) => postMessage(data.map((descriptor) => Deno.permissions.querySync(descriptor).state))",
);
let pending = "";
for await (const text of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
  pending += text;
  const lines = pending.split("\\n");
  pending = lines.pop();
  for (const line of lines) {
    const { permissions, descriptors } = JSON.parse(line);
    const worker = new Worker(inner, { type: "module", deno: { permissions } });
    const states = new Promise((resolve) => worker.onmessage = ({ data }) => resolve(data));
    worker.postMessage(descriptors);
    console.log(JSON.stringify(await states));
    worker.terminate();
  }
}`;

/** Deno's engine, in a process of its own: a Worker takes permissions only behind a flag. */
async function startEngine() {
  const folder = await Deno.makeTempDir({ prefix: "engine-" });
  await Deno.writeTextFile(`${folder}/engine.js`, program);
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", "--no-prompt", "--unstable-worker-options", `${folder}/engine.js`],
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  const answers = child.stdout.pipeThrough(new TextDecoderStream())[Symbol.asyncIterator]();
  return {
    async ask(grants: Grants, checks: readonly Check[]): Promise<string[]> {
      const question = { permissions: workerPermissions(grants), descriptors: checks.map(descriptorOf) };
      await writer.write(new TextEncoder().encode(`${JSON.stringify(question)}\n`));
      for (let text = "";;) {
        const { value, done } = await answers.next();
        assert.ok(!done, "the engine ended");
        text += value;
        if (text.endsWith("\n")) return JSON.parse(text);
      }
    },
    async [Symbol.asyncDispose]() {
      await writer.close();
      await child.status;
      await answers.return?.();
      await Deno.remove(folder, { recursive: true });
    },
  };
}

Deno.test("createJudge() says of every check what Deno's engine says in a cell's Worker", async () => {
  await using engine = await startEngine();
  const seen = new Set<string>();
  const property = fc.asyncProperty(
    grantsArbitrary,
    fc.array(checkArbitrary, { minLength: 60, maxLength: 60 }),
    async (grants, checks) => {
      const states = await engine.ask(grants, checks);
      const judge = createJudge({ grants, packageFolder: "/srv/a", dataFolder: "/srv/data" });
      for (const [at, check] of checks.entries()) {
        const { outcome } = judge(check);
        const expected = states[at] === "granted" ? "granted" : "refused";
        assert.equal(outcome, expected, JSON.stringify({ check, grants, state: states[at] }));
        seen.add(`${check.permission} ${outcome}`);
      }
    },
  );
  await fc.assert(property, { numRuns: 100 });
  const both = permissionNames.filter((name) => name !== "run").flatMap((
    name,
  ) => [`${name} granted`, `${name} refused`]);
  assert.deepEqual([...seen].sort(), [...both, "import refused"].sort());
});

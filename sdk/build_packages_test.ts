/**
 * The published client, as those use it who install it: from Node, from Deno, and by its types.
 *
 * @module
 */
import { deepEqual, equal, match, ok } from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { buildPackages, packageName } from "./build_packages.ts";
import { testingJobId, TestingServer, testingToken } from "./testing_server.ts";

/** Uses what a caller would, and fails to compile where the types are not there. */
const consumer = `
import { AirlockClient, AirlockError, type JobEvent, type JobView } from "${packageName}";
const client = new AirlockClient({ url: "http://127.0.0.1:1", token: "t" });
const result: { output: number } = await client.invoke("p", "a", {}, { parse: (value) => Number(value) });
const job: JobView = await client.enqueue({ plugin: "p", action: "a" });
const code: string | undefined = (await client.job(job.id)).error?.code;
await client.pipeline({ steps: [{ id: "s", plugin: "p", action: "a" }, { parallel: [{ id: "t", plugin: "p", action: "a" }] }] });
for await (const event of client.watch(job.id)) {
  const one: JobEvent = event;
  if (one.event === "JOB_STARTED") one.data.attempt satisfies number;
}
// @ts-expect-error: an output that nobody parsed is unknown
const untyped: number = (await client.invoke("p", "a")).output;
console.log(result, untyped, code, AirlockError);
`;

async function run(cwd: string, program: string, ...args: string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(program, { cwd, args }).output();
  const decoder = new TextDecoder();
  ok(success, `${program} ${args.join(" ")}: ${decoder.decode(stderr)}${decoder.decode(stdout)}`);
  return decoder.decode(stdout);
}

/** A folder with the built packages, the one for npm installed beside its dependency. */
async function install(): Promise<{ folder: string; installed: string }> {
  const folder = await Deno.makeTempDir();
  await buildPackages(folder);
  const installed = join(folder, "app/node_modules", packageName);
  await Deno.mkdir(join(installed, ".."), { recursive: true });
  await Deno.rename(join(folder, "npm"), installed);
  const { npmCache } = JSON.parse(await run(folder, Deno.execPath(), "info", "--json"));
  const { dependencies } = JSON.parse(await Deno.readTextFile(join(installed, "package.json")));
  deepEqual(Object.keys(dependencies), ["zod"]);
  // Deno keeps packages by the host of their registry, which is not the same everywhere.
  const [zod] = [...Deno.readDirSync(npmCache)]
    .map(({ name }) => join(npmCache, name, "zod", dependencies.zod.slice(1)))
    .filter((path) => existsSync(path));
  ok(zod !== undefined, `zod is not in ${npmCache}`);
  await Deno.symlink(zod, join(folder, "app/node_modules/zod"));
  await Deno.writeTextFile(join(folder, "app/package.json"), '{"type":"module"}');
  return { folder, installed };
}

/** Of packages: what a module names that is no file of its own. */
function packagesIn(text: string): Set<string> {
  return new Set(
    [...text.matchAll(/^(?:import|\}) .*?from "([^".][^"]*)";$/gm)].map(([, name = ""]) => name),
  );
}

async function checkImports(npm: string, jsr: string): Promise<void> {
  deepEqual([...packagesIn(await Deno.readTextFile(join(npm, "client.js")))], ["zod"]);
  const whole = await Deno.readTextFile(join(npm, "browser.js"));
  equal(/(?:^|[;}])(?:import|export)\s*[^;]*?from\s*"/.test(whole), false);
  for (const { name } of Deno.readDirSync(join(jsr, "schemas"))) {
    for (const specifier of packagesIn(await Deno.readTextFile(join(jsr, "schemas", name)))) {
      match(specifier, /^npm:zod@[\d.]+$/);
    }
    equal(/manifest|config|package|ledger|cell|warden|jsonc/.test(name), false, name);
  }
}

Deno.test("buildPackages() makes packages that work under Node and Deno, typed", async (t) => {
  const { folder, installed } = await install();
  try {
    await t.step("Node runs both modules of the npm package", async () => {
      await using server = new TestingServer(3);
      for (const name of [packageName, `${packageName}/browser`]) {
        const script = `
          import { AirlockClient } from "${name}";
          const client = new AirlockClient({ url: "${server.url}", token: "${testingToken}" });
          const tokens = [];
          for await (const token of client.tokens("${testingJobId}")) tokens.push(token);
          const { output } = await client.invoke("hello", "greet", {});
          await client.close();
          const stranger = new AirlockClient({ url: "${server.url}", token: "airlock_wrong" });
          const status = await stranger.connect().catch((error) => error.status);
          console.log(JSON.stringify({ tokens, output, status }));`;
        await Deno.writeTextFile(join(folder, "app/app.js"), script);
        // Of use to Node before 22 only.
        const told = await run(join(folder, "app"), "node", "--experimental-websocket", "app.js");
        deepEqual(JSON.parse(told), { tokens: [0, 1, 2], output: { n: 1 }, status: 401 });
      }
    });

    await t.step("no module names a runtime or holds a path of this machine", async () => {
      for (const name of ["client.js", "browser.js"]) {
        const text = await Deno.readTextFile(join(installed, name));
        equal(/\bDeno\.|\bnode:|\bprocess\.env\b/.test(text), false, name);
        equal(text.includes(new URL("..", import.meta.url).pathname), false, name);
      }
    });

    await t.step(
      "zod is the only package in them, and of the schemas only those of what the client reads",
      () => checkImports(installed, join(folder, "jsr")),
    );

    await t.step("the types of the npm package are there", async () => {
      await Deno.writeTextFile(join(folder, "app/app.ts"), consumer);
      await Deno.writeTextFile(join(folder, "app/deno.json"), '{"nodeModulesDir":"manual"}');
      await run(join(folder, "app"), Deno.execPath(), "check", "app.ts");
    });

    await t.step("the JSR package needs nothing but itself", async () => {
      await Deno.mkdir(join(folder, "other"));
      await Deno.writeTextFile(join(folder, "other/app.ts"), consumer);
      const imports = { [packageName]: "../jsr/sdk/client.ts" };
      await Deno.writeTextFile(join(folder, "other/deno.json"), JSON.stringify({ imports }));
      await run(join(folder, "other"), Deno.execPath(), "check", "--no-lock", "app.ts");
    });

    await t.step("npm packs what is to be there, and nothing else", async () => {
      const [packed] = JSON.parse(await run(installed, "npm", "pack", "--dry-run", "--json", "--offline"));
      const paths: string[] = packed.files.map(({ path }: { path: string }) => path);
      const rest = paths.filter((path) => !path.startsWith("types/"));
      deepEqual(rest.sort(), ["LICENSE", "README.md", "browser.js", "client.js", "package.json"]);
      ok(
        paths.includes("types/sdk/client.d.ts") &&
          paths.every((path) => /\.(?:js|d\.ts|json|md)$|E$/.test(path)),
      );
    });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

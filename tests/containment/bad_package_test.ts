/**
 * Bad packages: each is rejected with every reason, its calls are refused, and the other plugins work.
 *
 * @module
 */
import { deepEqual, equal, match, ok } from "node:assert/strict";
import type { PluginView } from "../../schemas/api.ts";
import type { Problem } from "../../schemas/problem.ts";
import { Airlock, manifest } from "../support/airlock.ts";

const mod = "export const actions = { run: () => 1 };";
const good = { "plugin.jsonc": manifest("good"), "mod.ts": mod };

async function checkWorks(airlock: Airlock): Promise<void> {
  equal(await airlock.call("good", "run"), 1);
}

/** Ten faults, each on a line of its own. */
const faulty = `{
  "id": "Faulty",
  "version": "1.0",
  "airlock": "newest",
  "entrypoint": "../mod.ts",
  "actons": { "run": {} },
  "limits": { "memoryMb": -1,
    "cpuMS": 10 },
  "capabilities": { "net": "everywhere",
    "eval": "yes" },
  "actions": { "run": { "timeoutMs": "soon" } },
}
`;

Deno.test("a manifest with ten faults is rejected with each of them, and the others are not", async () => {
  await using airlock = await Airlock.start({
    args: ["--tier", "process"],
    plugins: { good, faulty: { "plugin.jsonc": faulty, "mod.ts": mod } },
  });
  const plugin = await airlock.plugin("faulty");
  deepEqual([plugin.standing, plugin.status, plugin.lastError?.code], [
    "rejected",
    "error",
    "PLUGIN_REJECTED",
  ]);
  const errors = plugin.lastError?.errors ?? [];
  deepEqual(errors.map(({ path, line }) => [path, line]).sort(([, a], [, b]) => Number(a) - Number(b)), [
    ["/id", 2],
    ["/version", 3],
    ["/airlock", 4],
    ["/entrypoint", 5],
    ["/actons", 6],
    ["/limits/memoryMb", 7],
    ["/limits/cpuMS", 8],
    ["/capabilities/net", 9],
    ["/capabilities/eval", 10],
    ["/actions/run/timeoutMs", 11],
  ]);
  for (const [path, name] of [["/actons", "actions"], ["/limits/cpuMS", "cpuMs"]]) {
    match(errors.find((error) => error.path === path)?.message ?? "", new RegExp(`"${name}"`));
  }
  const { status, body } = await airlock.invoke("faulty", "run");
  deepEqual([status, (body as Problem).code, (body as Problem).errors?.length], [409, "PLUGIN_REJECTED", 10]);
  await checkWorks(airlock);
  const types = (await airlock.records()).map(({ type }) => type);
  ok(types.includes("plugin.rejected") && types.includes("call.refused"));
});

/** Names are those of folders; what is done to each package after it was written. */
const tampered: Record<string, (folder: string) => Promise<void>> = {
  linked: (folder) => Deno.symlink("/etc/passwd", `${folder}/passwd`),
  linkedwithin: (folder) => Deno.symlink("mod.ts", `${folder}/other.ts`),
  linkedfolder: (folder) => Deno.symlink("/etc", `${folder}/etc`),
  linkedmanifest: async (folder) => {
    await Deno.rename(`${folder}/plugin.jsonc`, `${folder}/real.jsonc`);
    await Deno.symlink("real.jsonc", `${folder}/plugin.jsonc`);
  },
  dangling: (folder) => Deno.symlink("nowhere", `${folder}/dangling`),
  fifo: async (folder) => {
    await Deno.mkdir(`${folder}/deep`);
    await makeFifo(`${folder}/deep/fifo`);
  },
  fifomanifest: async (folder) => {
    await Deno.remove(`${folder}/plugin.jsonc`);
    await makeFifo(`${folder}/plugin.jsonc`);
  },
  newline: (folder) => Deno.writeTextFile(`${folder}/a\nb.ts`, ""),
  backslash: (folder) => Deno.writeTextFile(`${folder}/a\\b.ts`, ""),
  collision: async (folder) => {
    await Deno.writeTextFile(`${folder}/a.ts`, "");
    await Deno.writeTextFile(`${folder}/A.ts`, "");
  },
};

async function makeFifo(path: string): Promise<void> {
  equal((await new Deno.Command("mkfifo", { args: [path] }).output()).code, 0);
}

Deno.test("a package with a link, a special file or a name that means two things is rejected", async () => {
  const folder = await Deno.makeTempDir({ prefix: "packages-" });
  await using cleaning = new AsyncDisposableStack();
  cleaning.defer(() => Deno.remove(folder, { recursive: true }));
  for (const [name, tamper] of Object.entries(tampered)) {
    await Deno.mkdir(`${folder}/${name}`);
    await Deno.writeTextFile(`${folder}/${name}/plugin.jsonc`, manifest(name));
    await Deno.writeTextFile(`${folder}/${name}/mod.ts`, mod);
    await tamper(`${folder}/${name}`);
  }
  using _socket = Deno.listen({ transport: "unix", path: `${folder}/fifo/socket` });
  await Deno.symlink(`${folder}/linked`, `${folder}/linkedpackage`);
  await using airlock = await Airlock.start({
    args: ["--tier", "process", "--plugins", folder],
    plugins: { good },
  });
  for (const name of [...Object.keys(tampered), "linkedpackage"]) {
    const { standing, lastError }: PluginView = await airlock.plugin(name);
    deepEqual([name, standing, lastError?.code], [name, "rejected", "PLUGIN_REJECTED"]);
    ok((lastError?.errors?.length ?? 0) > 0);
    const problem = await airlock.fail(name, "run");
    deepEqual([name, problem.code], [name, "PLUGIN_REJECTED"]);
    ok(!JSON.stringify(problem).includes("root:"), "it shows what the link leads to");
  }
  await checkWorks(airlock);
});

Deno.test("a package that was changed after its admission is not run, until it is as it was", async () => {
  await using airlock = await Airlock.start({ args: ["--tier", "process"], plugins: { good } });
  const { packageSha256 } = await airlock.plugin("good");
  const file = `${airlock.dataDir}/packages/${packageSha256}/mod.ts`;
  await Deno.chmod(file, 0o644);
  await Deno.writeTextFile(file, mod.replace("1", "2"));
  const { code, detail } = await airlock.fail("good", "run");
  deepEqual([code, detail.includes("are not those that were admitted")], ["PLUGIN_REJECTED", true]);
  await Deno.writeTextFile(file, mod);
  await checkWorks(airlock);
});

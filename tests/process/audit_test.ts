/**
 * The audit as its operator sees it: what a plugin touched and what it was refused, and nothing of Airlock's own,
 * by the API, in the ledger and by `airlock audit`.
 *
 * @module
 */
import { deepEqual, equal, match, ok } from "node:assert/strict";
import type { AuditView } from "../../schemas/audit.ts";
import type { Isolation } from "../../schemas/capabilities.ts";
import { Airlock, manifest, temporaryFolder } from "../support/airlock.ts";
import { testInEachTier } from "../support/tiers.ts";

const root = new URL("../../", import.meta.url).pathname;
const environment = { AUDIT_GRANTED: "yes", AUDIT_REFUSED: "no" };

/** Does what it is told to, one after the other, and tells what came of each. */
const mod = `
import { own } from "./own.ts";
const attempts = {
  read: (path) => Deno.readTextFile(path),
  write: (path) => Deno.writeTextFile(path, own),
  env: (name) => Deno.env.get(name),
  sys: (kind) => Deno[kind](),
  fetch: async (url) => await (await fetch(url)).text(),
  connect: async (address) => {
    const { hostname, port } = new URL("tcp://" + address);
    (await Deno.connect({ hostname, port: Number(port) })).close();
  },
};
export const actions = {
  async touch(attempted) {
    const outcomes = [];
    for (const [name, argument] of attempted) {
      try {
        await attempts[name](argument);
        outcomes.push("done");
      } catch (error) {
        outcomes.push(error.name);
      }
    }
    return outcomes;
  },
};`;

function packageOf(id: string): Record<string, string> {
  const capabilities = { net: ["*"], read: ["*"], write: ["*"], env: ["*"], sys: ["*"] };
  return {
    "plugin.jsonc": manifest(id, { actions: { touch: {} }, capabilities }),
    "mod.ts": mod,
    "own.ts": 'export const own = "own";',
    "model.txt": "model",
  };
}

/** What the plugin does, and how its audit names that. */
type Attempt = readonly [name: string, argument: string, permission: string, resource: string];

interface Places {
  readonly files: string;
  readonly port: number;
  readonly packageFolder: string;
  readonly dataFolder: string;
}

function grantedAttempts({ files, port, packageFolder, dataFolder }: Places): Attempt[] {
  return [
    ["read", `${files}/in/one`, "read", `${files}/in/one`],
    ["read", `${files}/in/../in//two`, "read", `${files}/in/two`],
    ["read", `${files}/in/deep/three`, "read", `${files}/in/deep/three`],
    ["write", `${files}/out/new`, "write", `${files}/out/new`],
    ["write", `${dataFolder}/note`, "write", "${data}/note"],
    ["read", `${dataFolder}/note`, "read", "${data}/note"],
    ["read", `${packageFolder}/model.txt`, "read", "${package}/model.txt"],
    ["env", "AUDIT_GRANTED", "env", "AUDIT_GRANTED"],
    ["sys", "hostname", "sys", "hostname"],
    ["fetch", `http://127.0.0.1:${port}/path?query`, "net", `127.0.0.1:${port}`],
  ];
}

function refusedAttempts({ files, port, packageFolder }: Places): Attempt[] {
  return [
    ["read", "/etc/passwd", "read", "/etc/passwd"],
    ["read", `${files}/in/../secret`, "read", `${files}/secret`],
    ["read", `${files}/inside`, "read", `${files}/inside`],
    ["write", `${files}/in/one`, "write", `${files}/in/one`],
    ["write", `${packageFolder}/mod.ts`, "write", "${package}/mod.ts"],
    ["env", "AUDIT_REFUSED", "env", "AUDIT_REFUSED"],
    ["sys", "osRelease", "sys", "osRelease"],
    ["fetch", `http://127.0.0.2:${port}/`, "net", `127.0.0.2:${port}`],
    ["fetch", "https://example.com/x", "net", "example.com:443"],
    ["connect", "[::1]:9", "net", "[::1]:9"],
  ];
}

async function makeFiles(): Promise<{ readonly path: string } & AsyncDisposable> {
  const folder = await temporaryFolder();
  for (const path of ["in/deep", "out", "unused"]) {
    await Deno.mkdir(`${folder.path}/${path}`, { recursive: true });
  }
  for (const path of ["in/one", "in/two", "in/deep/three", "secret", "inside"]) {
    await Deno.writeTextFile(`${folder.path}/${path}`, path);
  }
  return folder;
}

async function readAudit(airlock: Airlock, id: string, query = ""): Promise<AuditView> {
  const { status, body } = await airlock.request<AuditView>("GET", `/v1/plugins/${id}/audit${query}`);
  equal(status, 200, JSON.stringify(body));
  return body;
}

const nameOf = ({ permission, resource }: AuditView["items"][number]) => `${permission} ${resource}`;
const named = (attempts: readonly Attempt[]) =>
  attempts.map(([, , permission, resource]) => `${permission} ${resource}`);

async function touch(airlock: Airlock, id: string, attempts: readonly Attempt[]): Promise<string[]> {
  return await airlock.call<string[]>(id, "touch", attempts.map(([name, argument]) => [name, argument]));
}

async function runAudit(airlock: Airlock, args: readonly string[]) {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "-A", "--cached-only", `${root}main.ts`, "audit", ...args, "--url", airlock.url],
    env: { AIRLOCK_TOKEN: airlock.token },
  }).output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

interface Setup extends AsyncDisposable {
  readonly files: string;
  readonly port: number;
  start(): Promise<Airlock>;
  placesOf(airlock: Airlock, id: string): Promise<Places>;
}

async function makeSetup(tier: Isolation): Promise<Setup> {
  const stack = new AsyncDisposableStack();
  const { path: files } = stack.use(await makeFiles());
  const { path: folder } = stack.use(await temporaryFolder());
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, () => new Response("hello"));
  stack.defer(() => server.shutdown());
  const { port } = server.addr;
  const granted = {
    ...{ net: [`127.0.0.1:${port}`, "127.0.0.1:9"], read: [`${files}/in`, `${files}/unused`] },
    ...{
      write: [`${files}/out`, `${files}/unused`],
      env: ["AUDIT_GRANTED", "HOME"],
      sys: ["hostname", "uid"],
    },
  };
  return {
    files,
    port,
    start: () =>
      Airlock.start({
        dataDir: `${folder}/data`,
        args: ["--tier", tier],
        env: environment,
        plugins: { toucher: packageOf("toucher"), idle: packageOf("idle") },
        config: { grants: { toucher: granted, idle: granted } },
      }),
    async placesOf(airlock, id) {
      const { packageSha256 } = await airlock.plugin(id);
      const dataDir = await Deno.realPath(airlock.dataDir);
      return {
        ...{ files, port },
        packageFolder: `${dataDir}/packages/${packageSha256}`,
        dataFolder: `${dataDir}/plugins/${id}`,
      };
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

testInEachTier(
  "the audit names what a plugin touched and what it was refused, and nothing else",
  async (tier) => {
    await using setup = await makeSetup(tier);
    await using airlock = await setup.start();
    const places = await setup.placesOf(airlock, "toucher");
    const [granted, refused] = [grantedAttempts(places), refusedAttempts(places)];
    deepEqual(await touch(airlock, "toucher", granted), granted.map(() => "done"));
    deepEqual(await touch(airlock, "toucher", refused), refused.map(() => "NotCapable"));
    const { items, next, untold } = await readAudit(airlock, "toucher", "?limit=1000");
    const outcomes = Object.groupBy(items, ({ outcome }) => outcome);
    deepEqual((outcomes.granted ?? []).map(nameOf).sort(), named(granted).sort());
    deepEqual((outcomes.refused ?? []).map(nameOf).sort(), named(refused).sort());
    deepEqual([next, untold], [null, 0]);
    deepEqual((await readAudit(airlock, "idle")).items, []);
    const refusals = await readAudit(airlock, "toucher", "?outcome=refused&limit=4");
    deepEqual([refusals.items, typeof refusals.next], [(outcomes.refused ?? []).slice(0, 4), "string"]);
  },
);

testInEachTier("the audit counts a refusal that is repeated, and outlives Airlock", async (tier) => {
  await using setup = await makeSetup(tier);
  const passwd: Attempt = ["read", "/etc/passwd", "read", "/etc/passwd"];
  const countOf = async (airlock: Airlock) => (await readAudit(airlock, "toucher")).items[0]?.count ?? 0;
  let [once, times] = [0, 0];
  {
    await using airlock = await setup.start();
    await touch(airlock, "toucher", [passwd]);
    once = await countOf(airlock);
    ok(once > 0);
    // The first nine more than double it, the tenth does not.
    for (const more of [9, 1]) {
      await touch(airlock, "toucher", Array.from({ length: more }, () => passwd));
      times = await countOf(airlock);
    }
    equal(times, 11 * once);
  }
  await using airlock = await setup.start();
  equal(await countOf(airlock), times);
  const told = (await airlock.records()).filter(({ type }) => type.startsWith("permission."));
  deepEqual(told.map(({ type, data }) => [type, data["count"]]), [
    ["permission.refused", once],
    ["permission.refused", 9 * once],
    ["permission.counted", once],
  ]);
  await touch(airlock, "toucher", [passwd]);
  equal(await countOf(airlock), times + once);
});

testInEachTier(
  "the ledger has an entry of each resource, with its name as a commitment alone",
  async (tier) => {
    await using setup = await makeSetup(tier);
    await using airlock = await setup.start();
    const places = await setup.placesOf(airlock, "toucher");
    const attempts = [...grantedAttempts(places), ...refusedAttempts(places)];
    await touch(airlock, "toucher", attempts);
    await readAudit(airlock, "toucher");
    const records = await airlock.records();
    const told = records.filter(({ type }) => type.startsWith("permission."));
    const types = told.map(({ type }) => type);
    deepEqual(types.toSorted(), [
      ...Array.from({ length: 10 }, () => "permission.refused"),
      ...Array.from({ length: 10 }, () => "permission.used"),
    ]);
    const opened = await Promise.all(told.map(async ({ seq, plugin, actor, data }) => {
      deepEqual([plugin, actor], ["toucher@1.0.0", "kernel"]);
      const { body } = await airlock.request<{ items: { field: string; value: string }[] }>(
        "GET",
        `/v1/ledger/commitments/${seq}`,
      );
      const value = body.items.find(({ field }) => field === "resourceCommitment")?.value ?? "";
      return `${data["permission"]} ${new TextDecoder().decode(Uint8Array.fromBase64(value))}`;
    }));
    deepEqual(opened.sort(), named(attempts).sort());
    const text = JSON.stringify(told);
    for (const [, , , resource] of attempts.filter(([, , , name]) => name.length > 8)) {
      ok(!text.includes(resource), resource);
    }
  },
);

testInEachTier("airlock audit trim proposes grants with which the plugin does the same", async (tier) => {
  await using setup = await makeSetup(tier);
  await using airlock = await setup.start();
  const places = await setup.placesOf(airlock, "toucher");
  const granted = grantedAttempts(places);
  await touch(airlock, "toucher", granted);
  await touch(airlock, "toucher", refusedAttempts(places));
  const { code, stdout } = await runAudit(airlock, ["trim", "toucher", "--json"]);
  equal(code, 0);
  const proposal = JSON.parse(stdout);
  const { files, port } = places;
  deepEqual(proposal, {
    net: [`127.0.0.1:${port}`],
    read: [`${files}/in/deep/three`, `${files}/in/one`, `${files}/in/two`],
    write: [`${files}/out`],
    env: ["AUDIT_GRANTED"],
    sys: ["hostname"],
  });
  equal((await airlock.request("PUT", "/v1/plugins/toucher/grants", proposal)).status, 200);
  deepEqual(await touch(airlock, "toucher", granted), granted.map(() => "done"));
  const again = await runAudit(airlock, ["trim", "toucher"]);
  match(again.stdout, /^Nothing to trim/m);
});

Deno.test("airlock audit shows a table, and says of what a proposal rests on nothing", async () => {
  await using setup = await makeSetup("process");
  await using airlock = await setup.start();
  const places = await setup.placesOf(airlock, "toucher");
  await touch(airlock, "toucher", [["read", "/etc/\u001b[31mred", "read", ""], ...grantedAttempts(places)]);
  const shown = await runAudit(airlock, ["show", "toucher"]);
  equal(shown.code, 0);
  match(shown.stdout, /^OUTCOME +PERMISSION +CHECKS +FIRST +LAST +RESOURCE$/m);
  match(shown.stdout, /^granted +env +\d+ +\S+Z +\S+Z +AUDIT_GRANTED$/m);
  match(shown.stdout, /^refused +read +\d+ +\S+Z +\S+Z +\/etc\/\\u001b\[31mred$/m);
  const json = await runAudit(airlock, ["show", "toucher", "--json", "--outcome", "refused"]);
  const told = JSON.parse(json.stdout);
  deepEqual([told.items.map(nameOf), told.isAudited], [["read /etc/\u001b[31mred"], true]);
  const trim = await runAudit(airlock, ["trim", "toucher"]);
  match(trim.stdout, /^drop +read +\S+\/unused +not used$/m);
  match(trim.stdout, /^narrow +read +\S+\/in +to \S+/m);
  match(trim.stdout, /^\{"net":\[/m);
  const idle = await runAudit(airlock, ["trim", "idle"]);
  match(idle.stdout, /rests on nothing/);
  for (
    const [code, args] of [[2, ["trim"]], [2, ["show", "a/b"]], [2, ["prune"]], [3, [
      "show",
      "none",
    ]]] as const
  ) {
    const { code: found, stderr } = await runAudit(airlock, args);
    equal(found, code, stderr);
  }
});

/**
 * Invariant: no text that a plugin or a caller chose stands in the ledger, but as a salted commitment.
 *
 * What a package chooses from a narrow grammar does (see `schemas/ledger_event.ts`): its id and version, the
 * names of its actions, and the public hosts that it is granted by default.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { deepEqual, equal, ok } from "node:assert/strict";
import { Airlock, manifest, until } from "../support/airlock.ts";

const canary = "canaryc0ffee";
/** The one place where text of a plugin's own may stand in clear: who audits must see what it may reach. */
const publicHost = "plugins-own-choice.airlock-canary.dev:443";
const input = JSON.stringify({ text: canary });

const actions = {
  ...{ echo: {}, fail: {}, log: {}, stream: { stream: true }, crash: {}, pry: {} },
  ...{ bad: { output: { type: "number" } }, strict: { input: { type: "number" } } },
};
const texts = { name: canary, description: canary, author: canary, license: canary };
const mod = `
export const actions = {
  echo: (input) => input,
  fail() { throw new Error("${canary}"); },
  log(_, ctx) { ctx.log.info("${canary}"); console.log("${canary}"); console.error("${canary}"); return null; },
  async *stream(_, ctx) { ctx.progress(0.5, "${canary}"); yield "${canary}"; throw new TypeError("${canary}"); },
  crash: () => new Promise(() => { Promise.reject(new Error("${canary}")); }),
  bad: () => "${canary}",
  strict: () => 1,
  async pry(_, ctx) {
    const asked = [() => Deno.stat(ctx.dataDir + "/${canary}"), () => Deno.stat("/${canary}")];
    for (const ask of [...asked, () => fetch("http://${canary}.dev/"), () => Deno.env.get("${canary}")]) {
      try { await ask(); } catch { /* it is refused, or not there */ }
    }
    return null;
  },
};`;

/** A folder's name, a manifest, the name of a file, an error at the import: all of them the plugin's own. */
const plugins = {
  talker: {
    "plugin.jsonc": manifest("talker", {
      ...{ actions, ...texts, homepage: `https://${canary}.example/` },
      capabilities: {
        net: [
          publicHost,
          `${canary}.internal:443`,
          `*.${canary}.dev:443`,
          `${canary}.dev`,
        ],
        ...{ read: ["*", `/${canary}`], env: [`${canary}_*`] },
      },
      restart: { max: 2 },
    }),
    "mod.ts": mod,
    [`${canary}.ts`]: "",
  },
  [`${canary}-folder`]: { "plugin.jsonc": `{ "id": "${canary}", "${canary}": "${canary}" }`, "mod.ts": mod },
  [`${canary}-empty`]: { [`${canary}.ts`]: "" },
  thrower: { "plugin.jsonc": manifest("thrower"), "mod.ts": `throw new Error("${canary}");` },
};

/** Everything that a caller can choose, in requests that are answered and in those that are refused. */
const requests: [method: string, path: string, body?: unknown][] = [
  ...["echo", "fail", "log", "bad", "strict", "pry", canary].map((
    action,
  ): [string, string, unknown] => ["POST", `/v1/plugins/talker/actions/${action}`, input]),
  ["POST", "/v1/plugins/talker/actions/crash", input],
  ["POST", "/v1/plugins/thrower/actions/run", input],
  ["POST", `/v1/plugins/${canary}/actions/${canary}`, input],
  ["POST", `/v1/plugins/${canary}/actions/%63anary`, input],
  ["POST", `/v1/plugins/talker/actions/echo?${canary}=${canary}`, canary],
  ["POST", `/v1/${canary}`, { [canary]: canary }],
  ["POST", "/v1/tokens", { name: canary, role: "viewer" }],
  ["POST", "/v1/tokens", { name: canary, role: canary }],
  ["DELETE", `/v1/tokens/${canary}`],
  ["PUT", "/v1/plugins/talker/grants", { read: [`/${canary}`] }],
  ["PUT", "/v1/plugins/talker/grants", { [canary]: [canary] }],
  ["PUT", "/v1/plugins/talker/grants", { env: [canary] }],
  ...["load", "start", "disable", "enable", "reset", canary].flatMap((verb): [string, string][] =>
    [`${canary}-folder`, `${canary}-empty`, canary].map((id) => ["POST", `/v1/plugins/${id}/${verb}`])
  ),
];

const job = { plugin: "talker", input: { text: canary }, concurrency: { key: canary } };
const step = { id: canary, plugin: "talker", action: "echo", input: { text: canary } };
const cron = { name: canary, plugin: "talker", action: "echo", input: { text: canary } };

/** The same of jobs, pipelines and schedules. */
const jobRequests: typeof requests = [
  ...["echo", "fail", "log", "stream", "bad", "strict"].map((
    action,
  ): [string, string, unknown] => ["POST", "/v1/jobs", { ...job, action, idempotencyKey: canary + action }]),
  ["POST", "/v1/jobs", { ...job, action: "fail", idempotencyKey: `${canary}echo` }],
  ["POST", "/v1/jobs", { ...job, action: canary }],
  ["POST", "/v1/jobs", { ...job, action: "echo", [canary]: canary }],
  ["POST", "/v1/jobs", { ...job, action: "echo", dependsOn: [canary] }],
  ["POST", `/v1/jobs/${canary}/cancel`],
  ["POST", "/v1/jobs/redrive", { plugin: "talker", action: canary }],
  ["POST", "/v1/pipelines", { steps: [step], input: canary, idempotencyKey: canary }],
  ["POST", "/v1/pipelines", { steps: [{ ...step, action: "fail" }] }],
  ["POST", "/v1/pipelines", { steps: [{ ...step, input: { $from: canary } }] }],
  ["POST", "/v1/schedules", { ...cron, cron: "0 0 1 1 *" }],
  ["POST", "/v1/schedules", { ...cron, cron: canary, timeZone: canary }],
  ["DELETE", `/v1/schedules/${canary}`],
];

async function readLog(dataDir: string): Promise<string> {
  const folder = `${dataDir}/ledger/log`;
  const names = (await Array.fromAsync(Deno.readDir(folder))).map(({ name }) => name).sort();
  return (await Promise.all(names.map((name) => Deno.readTextFile(`${folder}/${name}`)))).join("");
}

/** The canary as anybody could find it again who has guessed it. */
function traces(): string[] {
  const bytes = new TextEncoder().encode(canary);
  const hashes = [canary, JSON.stringify(canary), input].map((text) =>
    createHash("sha256").update(text).digest("hex")
  );
  return [canary, bytes.toHex(), bytes.toBase64({ omitPadding: true }), ...hashes];
}

Deno.test("no text that a plugin or a caller chose stands in the ledger", async () => {
  await using airlock = await Airlock.start({
    plugins,
    args: ["--tier", "process"],
    config: { ledger: { refusalsWindowMs: 50 }, cells: { restartBackoffMs: 10 } },
  });
  const headers = { "x-canary": canary, "user-agent": canary, "x-request-id": canary, cookie: canary };
  const statuses = new Set<number>();
  for (const [method, path, body] of [...requests, ...jobRequests]) {
    const { status } = await airlock.request(method, path, body, {
      ...headers,
      "content-type": "application/json",
    });
    statuses.add(status);
  }
  for await (const _event of await airlock.stream("talker", "stream", { text: canary })) {
    // Read to its end.
  }
  await airlock.request("GET", "/v1/plugins", undefined, { authorization: `Bearer ${canary}` });
  await until("the jobs ended", async () => {
    const { body } = await airlock.request<{ items: { state: string }[] }>("GET", "/v1/jobs?limit=100");
    return body.items.length === 10 && body.items.every(({ state }) => /^(?:completed|failed)$/.test(state));
  }, 20_000);
  for (let crash = 0; crash < 2; crash++) await airlock.invoke("talker", "crash", { text: canary });
  await until("all of it told", async () => {
    const log = await readLog(airlock.dataDir);
    const types = ["token.refused", "plugin.crashed", "plugin.quarantined", "permission.used"];
    return [...types, "permission.refused"].every((type) => log.includes(type));
  });
  ok([200, 201, 404, 409, 422, 502].every((status) => statuses.has(status)), [...statuses].join());
  const log = await readLog(airlock.dataDir);
  const types = new Set(log.trimEnd().split("\n").map((line): string => JSON.parse(line).type));
  const told = ["plugin.rejected", "plugin.failed", "call.refused", "request.refused", "call.failed"];
  for (const type of [...told, "job.enqueued", "job.completed", "job.failed", "schedule.created"]) {
    ok(types.has(type), type);
  }
  // A public host that its manifest names: granted by default, and told as it is granted.
  const lines: { type: string; data: { granted?: { net?: string[] } } }[] = log.trimEnd().split("\n").map((
    line,
  ) => JSON.parse(line));
  const grants = lines.filter(({ data }) => data.granted?.net?.includes(publicHost)).map(({ type }) => type);
  deepEqual(new Set(grants), new Set(["grant.given", "plugin.started"]));
  equal(log.split(publicHost).length - 1, grants.length, "and nowhere else");
  deepEqual(traces().filter((trace) => log.toLowerCase().includes(trace.toLowerCase())), []);
  // It was there to be found: the plugin's log has it, and what opens the commitments.
  const { body } = await airlock.request<{ items: unknown[] }>("GET", "/v1/plugins/talker/logs");
  ok(JSON.stringify(body).includes(canary));
  const opened = await Deno.readFile(`${airlock.dataDir}/commitments.db-wal`);
  equal(new TextDecoder("latin1").decode(opened).includes(canary), true);
});

/**
 * Every act of the kernel, and the types of the entries that tell of it: in order, as a test does them one
 * after the other. What has no `run` happens by itself when Airlock is stopped, and started with other
 * settings.
 *
 * @module
 */
import type { LedgerEventType } from "../../schemas/ledger_event.ts";
import { type Airlock, manifest, until } from "../support/airlock.ts";

export interface Act {
  readonly act: string;
  readonly entries: readonly LedgerEventType[];
  readonly run?: (airlock: Airlock) => Promise<unknown>;
}

/** Entries whose acts have a test of their own. */
export const shownElsewhere: Partial<Record<LedgerEventType, string>> = {
  "ledger.recovered": "kernel/ledger/ledger_test.ts: a crash left bytes that had to be cut",
  "ledger.rotated": "kernel/ledger/: an administrator has another key sign",
  "ledger.retired": "kernel/ledger/: an administrator has the older key sign no more",
};

const mod = `
const crash = () => new Promise(() => { Promise.reject(new Error("on purpose")); });
export const actions = {
  run: () => "done", fail() { throw new Error("no"); }, hold: () => new Promise(() => {}),
  crash, again: crash, loop() { for (;;); },
  touch: () => Deno.readTextFileSync(new URL("plugin.jsonc", import.meta.url)),
  async pry() { for (let at = 0; at < 20; at++) await Deno.readTextFile("/etc/" + at).catch(() => {}); },
};`;
const actions = {
  ...{ run: {}, fail: {}, hold: {}, crash: {}, touch: {}, pry: {} },
  ...{ again: { idempotent: true }, loop: { timeoutMs: 200 } },
};

export const pluginsOfTable = {
  acting: {
    "plugin.jsonc": manifest("acting", { actions, capabilities: { read: ["*"] }, restart: { max: 100 } }),
    "mod.ts": mod,
  },
  fragile: {
    "plugin.jsonc": manifest("fragile", { actions, restart: { max: 1 } }),
    "mod.ts": mod,
  },
  demanding: { "plugin.jsonc": manifest("demanding", { isolation: "sealed" }), "mod.ts": mod },
  broken: { "plugin.jsonc": "{", "mod.ts": mod },
};

export const configOfTable = {
  cells: { restartBackoffMs: 10, restartBackoffMaxMs: 20, breakerFailures: 4 },
  ledger: { refusalsWindowMs: 50, refusalsMax: 5 },
  audit: { windowMs: 50, refusalsMax: 5 },
};

const call = (action: string, plugin = "acting") => (airlock: Airlock) => airlock.invoke(plugin, action);
const order = (verb: string) => (airlock: Airlock) => airlock.request("POST", `/v1/plugins/acting/${verb}`);
/** Of the newest call. */
const openings = (method: "GET" | "DELETE") => async (airlock: Airlock) => {
  const accepted = (await airlock.records()).findLast(({ type }) => type === "call.accepted");
  return await airlock.request(method, `/v1/ledger/commitments/${accepted?.seq}`);
};
const grant = (read: string[]) => (airlock: Airlock) =>
  airlock.request("PUT", "/v1/plugins/acting/grants", { read });

const enqueue = (action: string, more: Record<string, unknown> = {}) => async (airlock: Airlock) => {
  const asked = { plugin: "acting", action, ...more };
  const { body } = await airlock.request<{ id: string }>("POST", "/v1/jobs", asked);
  return body.id;
};
/** Of the newest job. */
const orderJob = (verb: string) => async (airlock: Airlock) => {
  const { body } = await airlock.request<{ items: { id: string }[] }>("GET", "/v1/jobs?limit=1");
  return await airlock.request("POST", `/v1/jobs/${body.items[0]?.id}/${verb}`);
};
const schedule = { name: "x", plugin: "acting", action: "run", cron: "0 0 1 1 *" };
const makeSchedule = async (airlock: Airlock) =>
  (await airlock.request<{ id: string }>("POST", "/v1/schedules", schedule)).body.id;
const pipeline = { steps: [{ id: "only", plugin: "acting", action: "run" }] };

async function makeToken(airlock: Airlock): Promise<string> {
  const { body } = await airlock.request<{ id: string }>("POST", "/v1/tokens", { name: "x", role: "viewer" });
  return body.id;
}

async function killUnderCall(airlock: Airlock): Promise<void> {
  const held = airlock.invoke("acting", "hold").catch(() => "lost");
  await until(
    "the call under way",
    async () => (await airlock.records()).some(({ data }) => data["action"] === "hold"),
  );
  Deno.kill(await airlock.kernelPid(), "SIGKILL");
  await held;
}

export const acts: readonly Act[] = [
  {
    act: "the first start, with a plugin that is broken and one that cannot be had as it asks for",
    entries: [
      ...["ledger.created", "kernel.started", "token.created"] as const,
      ...["plugin.found", "plugin.admitted", "plugin.rejected", "plugin.failed", "grant.given"] as const,
    ],
  },
  { act: "a call", entries: ["call.accepted", "plugin.started", "call.completed"], run: call("run") },
  { act: "a plugin's code touches what it was granted", entries: ["permission.used"], run: call("touch") },
  {
    act: "it asks for more that it was not than has entries of its own",
    entries: ["permission.refused", "permission.counted"],
    run: call("pry"),
  },
  { act: "a call that fails", entries: ["call.accepted", "call.failed"], run: call("fail") },
  { act: "what opens a commitment is shown", entries: ["commitment.opened"], run: openings("GET") },
  { act: "what opens a commitment is deleted", entries: ["commitment.deleted"], run: openings("DELETE") },
  { act: "a call of no action", entries: ["call.refused"], run: call("none") },
  { act: "a request that is refused", entries: ["request.refused"], run: order("dance") },
  {
    act: "more refused requests of one caller than have entries of their own",
    entries: ["request.refused", "refusal.counted"],
    run: async (airlock) => {
      // However slow the machine is: in one of the windows there are enough.
      await until("those that were counted", async () => {
        await Promise.all(Array.from({ length: 20 }, () => order("dance")(airlock)));
        return (await airlock.records()).some(({ type }) => type === "refusal.counted");
      });
    },
  },
  {
    act: "a token that is none",
    entries: ["token.refused"],
    run: (airlock) => airlock.request("GET", "/v1/plugins", undefined, { authorization: "Bearer none" }),
  },
  { act: "a token is made", entries: ["token.created"], run: makeToken },
  {
    act: "a token is revoked",
    entries: ["token.revoked"],
    run: async (airlock) => await airlock.request("DELETE", `/v1/tokens/${await makeToken(airlock)}`),
  },
  { act: "a grant is given", entries: ["grant.given", "plugin.stopped"], run: grant(["/srv"]) },
  { act: "a grant is exchanged", entries: ["grant.taken", "grant.given"], run: grant(["/mnt"]) },
  { act: "a grant is taken", entries: ["grant.taken"], run: grant([]) },
  { act: "an order to start", entries: ["plugin.ordered", "plugin.started"], run: order("start") },
  { act: "an order to suspend", entries: ["plugin.ordered", "plugin.suspended"], run: order("suspend") },
  { act: "an order to resume", entries: ["plugin.ordered", "plugin.resumed"], run: order("resume") },
  { act: "an order to stop", entries: ["plugin.ordered", "plugin.stopped"], run: order("stop") },
  { act: "an order to disable", entries: ["plugin.ordered", "plugin.disabled"], run: order("disable") },
  { act: "an order that repeats one", entries: ["plugin.ordered"], run: order("disable") },
  { act: "an order that is refused", entries: ["plugin.ordered", "request.refused"], run: order("start") },
  { act: "an order to enable", entries: ["plugin.ordered", "plugin.enabled"], run: order("enable") },
  {
    act: "an order to unload",
    entries: ["plugin.ordered", "grant.taken", "plugin.unloaded"],
    run: order("unload"),
  },
  {
    act: "an order to load",
    entries: ["plugin.ordered", "grant.given", "plugin.loaded"],
    run: order("load"),
  },
  { act: "a cell that goes over a limit", entries: ["plugin.killed", "call.failed"], run: call("loop") },
  {
    act: "a cell that ends unasked, and is started again",
    entries: ["plugin.crashed", "call.failed", "plugin.started"],
    run: async (airlock) => {
      await call("crash")(airlock);
      await call("run")(airlock);
    },
  },
  {
    act: "a call that may be made again",
    entries: ["call.accepted", "plugin.crashed", "call.retried", "call.failed"],
    run: call("again"),
  },
  {
    act: "a job",
    entries: ["job.enqueued", "call.accepted", "call.completed", "job.completed"],
    run: enqueue("run"),
  },
  {
    act: "a job that fails",
    entries: ["job.enqueued", "call.accepted", "call.failed", "job.failed"],
    run: enqueue("fail"),
  },
  { act: "a failed job is tried again", entries: ["job.ordered", "job.failed"], run: orderJob("retry") },
  {
    act: "failed jobs are tried again",
    entries: ["job.ordered", "job.failed"],
    run: (airlock) => airlock.request("POST", "/v1/jobs/redrive"),
  },
  { act: "a job that waits", entries: ["job.enqueued"], run: enqueue("run", { delayMs: 600_000 }) },
  { act: "a job is cancelled", entries: ["job.ordered", "job.cancelled"], run: orderJob("cancel") },
  {
    act: "a pipeline",
    entries: ["job.enqueued", "call.completed", "job.completed"],
    run: (airlock) => airlock.request("POST", "/v1/pipelines", pipeline),
  },
  { act: "a schedule is made", entries: ["schedule.created"], run: makeSchedule },
  {
    act: "a schedule is deleted",
    entries: ["schedule.deleted"],
    run: async (airlock) => await airlock.request("DELETE", `/v1/schedules/${await makeSchedule(airlock)}`),
  },
  {
    act: "calls that fail in a row",
    entries: ["breaker.changed"],
    run: async (airlock) => {
      for (let failure = 0; failure < 4; failure++) await call("fail")(airlock);
    },
  },
  {
    act: "an order to reset",
    entries: ["plugin.ordered", "plugin.reset", "breaker.changed"],
    run: order("reset"),
  },
  {
    act: "a plugin that is given up",
    entries: ["plugin.crashed", "plugin.quarantined"],
    run: call("crash", "fragile"),
  },
  {
    act: "the kernel is killed under a call",
    entries: ["call.accepted", "kernel.recovered", "kernel.started"],
    run: killUnderCall,
  },
  {
    act: "Airlock stops, and starts with another setting",
    entries: ["kernel.stopped", "kernel.started", "config.changed"],
  },
];

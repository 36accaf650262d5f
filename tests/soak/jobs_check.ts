/**
 * What must hold of all jobs when the last has ended, whatever was killed meanwhile.
 *
 * @module
 */
import { deepEqual, equal, ok } from "node:assert/strict";
import { createHash } from "node:crypto";
import { jobStates, type JobView } from "../../schemas/job.ts";
import { type Airlock, until } from "../support/airlock.ts";
import { runToEnd } from "../support/processes.ts";
import { entriesOf, type History, type Life } from "./jobs_history.ts";
import { effectsOf } from "./jobs_plugin.ts";
import { checkAccount, checkPolicy } from "./jobs_policy.ts";
import { keyMax, type PipelineSpec, plainJob } from "./jobs_requests.ts";
import { eventsOf } from "./jobs_watcher.ts";
import type { JobsWorld } from "./jobs_world.ts";
import { type Traces, tracesOf } from "./traces.ts";

const endTimeoutMs = 600_000;
const readersAtOnce = 8;
const main = new URL("../../main.ts", import.meta.url).pathname;

interface Known extends History {
  readonly lives: readonly Life[];
}

export interface Figures {
  readonly acknowledged: number;
  /** Pipelines' steps, and what was accepted without an answer, included. */
  readonly jobs: number;
  readonly ends: Readonly<Record<string, number>>;
  readonly codes: Readonly<Record<string, number>>;
  readonly entries: number;
  readonly attempts: number;
  readonly tokens: number;
  readonly resent: number;
  readonly watched: number;
  readonly cuts: number;
}

/** Waits for the last job to end, and checks each of them. */
export async function checkWorld(world: JobsWorld, interruptionsMax: number): Promise<Figures> {
  const { airlock } = world;
  await until("every job ended", () => hasEnded(airlock), endTimeoutMs);
  const views = await jobsOf(airlock);
  // A job is shown alone when the entry of its end is there; a list does not wait for that.
  for (const { id } of views) await airlock.request("GET", `/v1/jobs/${id}`);
  const entries = await entriesOf(airlock);
  const effects = await effectsOf(airlock.dataDir, world.mix.plugins);
  deepEqual([...entries.jobs.keys()].sort(), views.map(({ id }) => id).sort(), "the jobs of the ledger");
  const known = new Map<string, Known>();
  const rest = views.values();
  await Promise.all(Array.from({ length: readersAtOnce }, async () => {
    for (const { id } of rest) {
      const { body: view } = await airlock.request<JobView>("GET", `/v1/jobs/${id}`);
      const history = {
        view,
        events: await eventsOf(airlock, id),
        entries: entries.jobs.get(id)!,
        effects: effects.get(id) ?? [],
      };
      // The watchers' are compared now: all of them together would be a lot.
      const watched = world.watchers.get(id);
      if (watched !== undefined) {
        await watched.ended;
        deepEqual(watched.events, history.events, `${id}: what was read through the kills`);
      }
      known.set(id, { ...history, lives: checkAccount(history), events: [] });
    }
  }));
  for (const id of effects.keys()) ok(known.has(id), `${id} worked, and is no job`);
  checkAll(world, known, interruptionsMax);
  await checkLedger(airlock);
  return figuresOf(world, known, entries.count);
}

/** What is there when each plugin has done one job and is at rest: what is there after all of them, too. */
export async function tracesAtRest(world: JobsWorld): Promise<Traces> {
  const { airlock, mix } = world;
  for (const plugin of mix.plugins) {
    await world.enqueue([plainJob(`first-${plugin}`, plugin)], "single");
  }
  await until("the first jobs ended", () => hasEnded(airlock), endTimeoutMs);
  await world.stop();
  const traces = await tracesOf(airlock);
  for (const id of mix.plugins) await airlock.request("POST", `/v1/plugins/${id}/start`);
  return traces;
}

/** One that is tried again goes from the one state to the other between two looks, but not that often. */
export async function hasEnded(airlock: Airlock): Promise<boolean> {
  for (const state of ["pending", "running", "pending", "running", "pending"]) {
    if ((await jobsOf(airlock, `&state=${state}`, 1)).length > 0) return false;
  }
  return true;
}

interface Page {
  readonly items: JobView[];
  readonly next: string | null;
}

/** All of them, or the first few that there are. */
async function jobsOf(airlock: Airlock, filter = "", enough = Infinity): Promise<JobView[]> {
  const views: JobView[] = [];
  for (let after: string | null = ""; after !== null && views.length < enough;) {
    const { body }: { body: Page } = await airlock.request("GET", `/v1/jobs?limit=1000${filter}${after}`);
    views.push(...body.items);
    after = body.next === null ? null : `&after=${body.next}`;
  }
  return views;
}

function checkAll(world: JobsWorld, known: ReadonlyMap<string, Known>, interruptionsMax: number): void {
  const tagOf = findTags(world, known);
  const options = {
    interruptionsMax,
    hasFailed: (id: string) => known.get(id)!.lives.some(({ end }) => end?.state !== "completed"),
    completedAtMs: (id: string) => {
      const { state, endedAt } = known.get(id)!.view;
      return state === "completed" ? Date.parse(endedAt ?? "") : NaN;
    },
  };
  const keyed = new Map<string, { max: number; moments: { atMs: number; change: number }[] }>();
  for (const [id, history] of known) {
    const { parent, step } = history.view;
    const spec = world.asked.get(tagOf.get(parent ?? id)!)!.spec;
    if (parent !== null) {
      ok(spec.kind === "pipeline");
      const ofStep = spec.steps.get(step ?? "");
      ok(ofStep, `${id}: step "${step}"`);
      const above = known.get(parent)!;
      const isStopped = spec.onFailure === "stop" && options.hasFailed(parent);
      const mayBeCancelled = isStopped || world.cancelled.has(above.view.id);
      const isWithout = spec.takers.includes(step ?? "") && isHeadLost(parent, known);
      const input = isWithout ? { ...ofStep.input, value: null } : ofStep.input;
      checkPolicy({ ...ofStep, input }, history, history.lives, { ...options, mayBeCancelled });
    } else if (spec.kind === "action") {
      const mayBeCancelled = world.cancelled.has(id);
      checkPolicy(spec, history, history.lives, { ...options, mayBeCancelled });
      const { plugin, action, key } = spec;
      if (key === null || history.view.state !== "completed") continue;
      keyed.getOrInsertComputed(`${plugin} ${action} ${key}`, () => ({ max: keyMax[key]!, moments: [] }))
        .moments
        .push(...momentsOf(history.view));
    } else {
      checkPipeline(spec, history.view, known, world.cancelled.has(id));
    }
  }
  for (const [key, { max, moments }] of keyed) checkKey(key, max, moments);
}

/** The step whose output others take did not complete: they go on with null, if their plan says so. */
function isHeadLost(parent: string, known: ReadonlyMap<string, Known>): boolean {
  return [...known.values()].some(({ view }) =>
    view.parent === parent && view.step === "head" && view.state !== "completed"
  );
}

/** The tag of each job that is no part of a pipeline. Fails where a request became two jobs, or half of a batch. */
function findTags(world: JobsWorld, known: ReadonlyMap<string, Known>): Map<string, string> {
  const byInput = new Map<string, string>();
  for (const [tag, { spec }] of world.asked) {
    if (spec.kind !== "action") continue;
    byInput.set(createHash("sha256").update(JSON.stringify(spec.input)).digest("hex"), tag);
  }
  const tagOf = new Map<string, string>();
  const idOf = new Map<string, string>();
  for (const [id, { view }] of known) {
    if (view.parent !== null) continue;
    const tag = view.idempotencyKey ?? byInput.get(view.inputSha256);
    ok(tag !== undefined && world.asked.has(tag), `${id} is a job that nobody asked for`);
    ok(!idOf.has(tag), `${id} and ${idOf.get(tag)} are one request`);
    tagOf.set(id, tag);
    idOf.set(tag, id);
  }
  for (const [id, tag] of world.acknowledged) {
    equal(tagOf.get(id), tag, `${id} was acknowledged, and is lost`);
  }
  for (const tags of world.batches) {
    const there = tags.filter((tag) => idOf.has(tag)).length;
    ok(there === 0 || there === tags.length, `${there} of ${tags.length} jobs of a batch are there`);
  }
  return tagOf;
}

function checkPipeline(
  spec: PipelineSpec,
  { id, state, output, error }: JobView,
  known: ReadonlyMap<string, Known>,
  mayBeCancelled: boolean,
): void {
  const below = [...known.values()].filter(({ view }) => view.parent === id).map(({ view }) => view);
  const byStep = new Map(below.map((view) => [view.step, view]));
  equal(byStep.size, below.length, `${id}: a step has two jobs`);
  const isWhole = below.every((view) => view.state === "completed");
  if (state === "cancelled") return ok(mayBeCancelled, `${id} was cancelled by nobody`);
  if (state === "failed") {
    deepEqual([error?.code, spec.onFailure, isWhole], ["STEP_FAILED", "stop", false], id);
    return;
  }
  equal(byStep.size, spec.steps.size, `${id}: each step has a job`);
  if (spec.onFailure === "stop") ok(isWhole, `${id} completed without all its steps`);
  const outputs = Object.fromEntries(spec.order.map((step) => {
    const items = spec.maps.get(step);
    if (items === undefined) return [step, byStep.get(step)?.output];
    return [step, Array.from({ length: items }, (_, item) => byStep.get(`${step}[${item}]`)?.output)];
  }));
  deepEqual(output, outputs, id);
}

/** When the attempt that completed the job began, and when it ended. */
function momentsOf({ startedAt, endedAt }: JobView) {
  return [
    { atMs: Date.parse(startedAt ?? ""), change: 1 },
    { atMs: Date.parse(endedAt ?? ""), change: -1 },
  ];
}

/** Of jobs that share a key, no more run at once than it allows. */
function checkKey(key: string, max: number, moments: { atMs: number; change: number }[]): void {
  let running = 0;
  // What ends makes room for what begins in the same millisecond.
  for (const { atMs, change } of moments.sort((a, b) => a.atMs - b.atMs || a.change - b.change)) {
    running += change;
    ok(running <= max, `${running} jobs of the key "${key}" at ${atMs}`);
  }
}

async function checkLedger(airlock: Airlock): Promise<void> {
  const { body: key } = await airlock.request<string>("GET", "/v1/ledger/key");
  const { code, stdout, stderr } = await runToEnd([
    ...[Deno.execPath(), "run", "--quiet", "-A", "--cached-only", main],
    ...["ledger", "verify", airlock.dataDir, "--key", key],
  ]);
  equal(code, 0, stdout + stderr);
}

function figuresOf(world: JobsWorld, known: ReadonlyMap<string, Known>, entries: number): Figures {
  const all = [...known.values()];
  const count = (of: (each: Known) => string | undefined, names: readonly string[]) =>
    Object.fromEntries(
      names.map((name) => [name, all.filter((each) => of(each) === name).length]).filter(([, n]) => n !== 0),
    );
  const codes = new Set(all.map(({ view }) => view.state === "failed" ? view.error!.code : ""));
  codes.delete("");
  const watchers = [...world.watchers.values()];
  return {
    acknowledged: world.acknowledged.size,
    jobs: all.length,
    ends: count(({ view }) => view.state, jobStates),
    codes: count(({ view }) => view.state === "failed" ? view.error?.code : undefined, [...codes]),
    entries,
    attempts: all.reduce((sum, { lives }) => sum + lives.flatMap(({ attempts }) => attempts).length, 0),
    tokens: all.reduce((sum, { lives }) => sum + tokensOf(lives), 0),
    resent: world.resent,
    watched: watchers.length,
    cuts: watchers.reduce((sum, { cuts }) => sum + cuts, 0),
  };
}

function tokensOf(lives: readonly Life[]): number {
  return lives.flatMap(({ attempts }) => attempts).reduce((sum, { tokens }) => sum + tokens.length, 0);
}

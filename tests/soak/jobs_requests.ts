/**
 * Requests for jobs and pipelines with every mix of policy, at random, and what must become of each.
 *
 * @module
 */
import { type ActionName, actionNames, type How, isStreaming, type WorkInput } from "./jobs_plugin.ts";

/** What was asked, as far as its end depends on it. */
export interface JobSpec {
  readonly kind: "action";
  readonly plugin: string;
  readonly action: ActionName;
  readonly input: WorkInput;
  readonly attempts: number;
  /** Codes that it names itself. */
  readonly codes: readonly string[] | undefined;
  readonly delayMs: number;
  /** Null, or so short that it expires, or so long that it never does. */
  readonly ttlMs: number | null;
  readonly key: string | null;
  /** Ids. */
  readonly dependsOn: readonly string[];
}

export interface PipelineSpec {
  readonly kind: "pipeline";
  readonly onFailure: "stop" | "continue";
  /** Of each job below it, by its key. */
  readonly steps: ReadonlyMap<string, JobSpec>;
  /** Of a step that is a map, how many items. */
  readonly maps: ReadonlyMap<string, number>;
  /** Steps that take the output of `head`. */
  readonly takers: readonly string[];
  /** Steps in the order of the plan. */
  readonly order: readonly string[];
}

export interface Asked {
  readonly tag: string;
  readonly spec: JobSpec | PipelineSpec;
  /** What is sent. */
  readonly body: Record<string, unknown>;
}

/** Jobs with this key of one plugin and action that run at once. */
export const keyMax: Readonly<Record<string, number>> = { single: 1, pair: 2 };

const expiringTtlMs = 300;
const lastingTtlMs = 3_600_000;

export function chance(probability: number): boolean {
  return Math.random() < probability;
}

export function pick<T>(from: readonly T[]): T {
  return from[Math.floor(Math.random() * from.length)]!;
}

function below(max: number): number {
  return Math.floor(Math.random() * max);
}

function randomHow(crashes: boolean): How {
  if (crashes && chance(0.06)) return pick(["crash", "crashFirst", "exit"]);
  return chance(0.7) ? "ok" : pick(["always", "first", "first"]);
}

/** `steady` plugins are not crashed by their jobs. */
export interface Mix {
  readonly plugins: readonly string[];
  readonly crashing: string | undefined;
  /** An attempt works up to this long. */
  readonly workMsMax: number;
}

function randomCall(tag: string, mix: Mix) {
  const plugin = pick(mix.plugins);
  const action = pick(actionNames);
  const attempts = pick([1, 1, 2, 4]);
  const input: WorkInput = {
    tag,
    how: randomHow(plugin === mix.crashing),
    k: attempts > 1 ? 1 + below(attempts - 1) : 1,
    ms: below(mix.workMsMax),
    tokens: isStreaming(action) ? below(200) : 0,
    value: below(1_000),
  };
  const codes = attempts > 1 && chance(0.2) ? ["ACTION_FAILED", "PLUGIN_CRASHED"] : undefined;
  return { plugin, action, attempts, input, codes };
}

function retryOf(attempts: number, codes: readonly string[] | undefined) {
  return { attempts, backoffMs: below(100), ...(codes === undefined ? {} : { codes }) };
}

export function randomJob(tag: string, mix: Mix, dependsOn: readonly string[]): Asked {
  const { plugin, action, attempts, input, codes } = randomCall(tag, mix);
  const isExpiring = chance(0.05);
  const delayMs = isExpiring ? 600_000 : chance(0.2) ? below(2_000) : 0;
  const ttlMs = isExpiring ? expiringTtlMs : chance(0.1) ? lastingTtlMs : null;
  const key = chance(0.15) ? pick(Object.keys(keyMax)) : null;
  const spec = { plugin, action, attempts, input, codes, delayMs, ttlMs, key, dependsOn };
  return {
    tag,
    spec: { kind: "action", ...spec },
    body: {
      ...{ plugin, action, input, dependsOn, ttlMs },
      retry: retryOf(attempts, codes),
      ...(delayMs === 0 ? {} : { delayMs }),
      ...(key === null ? {} : { concurrency: { key, max: keyMax[key] } }),
      priority: below(21) - 10,
      ...(chance(0.5) ? { idempotencyKey: tag } : {}),
    },
  };
}

/** One that just does its work. */
export function plainJob(tag: string, plugin: string): Asked {
  const input: WorkInput = { tag, how: "ok", k: 1, ms: 0, tokens: 0, value: 0 };
  const call = { plugin, action: "again", input } as const;
  const rest = { attempts: 1, codes: undefined, delayMs: 0, ttlMs: null, key: null, dependsOn: [] };
  return { tag, spec: { kind: "action", ...call, ...rest }, body: { ...call } };
}

/** A step of an idempotent action, whose value is that of an earlier step or its own. */
function randomStep(
  id: string,
  tag: string,
  mix: Mix,
  { how, value, from }: { how: How; value: number; from?: string },
) {
  const call = randomCall(tag, mix);
  const action: ActionName = isStreaming(call.action) ? "tell" : "again";
  const input = { ...call.input, how, value, tokens: action === "tell" ? call.input.tokens : 0 };
  const spec: JobSpec = {
    ...{ kind: "action", plugin: call.plugin, action, input, attempts: call.attempts, codes: undefined },
    ...{ delayMs: 0, ttlMs: null, key: null, dependsOn: [] },
  };
  const sent = from === undefined ? input : { ...input, value: { $from: from, path: "/value" } };
  const { plugin } = call;
  return { spec, step: { id, plugin, action, input: sent, retry: retryOf(call.attempts, undefined) } };
}

/**
 * `head`, then two branches side by side and a map, then `tail`, which takes what `head` gave. One of them may fail.
 */
export function randomPipeline(tag: string, mix: Mix): Asked {
  const failing = chance(0.4) ? pick(["left", "right", "each"]) : undefined;
  const onFailure = pick(["stop", "continue"] as const);
  const value = below(1_000);
  const items = below(6);
  const how = (id: string): How => id === failing ? "always" : pick(["ok", "ok", "first"]);
  const steps = new Map<string, JobSpec>();
  const make = (id: string, from?: string) => {
    const options = { how: how(id), value, ...(from === undefined ? {} : { from }) };
    const { spec, step } = randomStep(id, `${tag}/${id}`, mix, options);
    // Its failing first attempts are fewer than it has.
    const fair = spec.input.how === "first" && spec.attempts === 1 ? { ...spec, attempts: 2 } : spec;
    steps.set(id, fair);
    return { ...step, retry: { ...step.retry, attempts: fair.attempts } };
  };
  const head = make("head");
  const left = make("left", "head");
  const right = make("right", "head");
  const each = make("each");
  const tail = make("tail", "head");
  const eachSpec = steps.get("each")!;
  steps.delete("each");
  for (let item = 0; item < items; item++) {
    steps.set(`each[${item}]`, { ...eachSpec, input: { ...eachSpec.input, value: item } });
  }
  return {
    tag,
    spec: {
      ...{ kind: "pipeline", onFailure, steps, maps: new Map([["each", items]]) },
      takers: ["left", "right", "tail"],
      order: ["head", "left", "right", "each", "tail"],
    },
    body: {
      steps: [
        head,
        { parallel: [left, [right]] },
        { ...each, map: Array.from({ length: items }, (_, item) => item), input: eachInput(each.input) },
        tail,
      ],
      ...{ onFailure, priority: below(21) - 10, idempotencyKey: tag },
    },
  };
}

function eachInput(input: object) {
  return { ...input, value: { $item: "" } };
}

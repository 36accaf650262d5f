/**
 * Clients of an Airlock that is killed under them: they enqueue, cancel and try again, keep every word that they
 * were given, and send again what they had no answer to.
 *
 * @module
 */
import { equal, ok } from "node:assert/strict";
import type { JobView } from "../../schemas/job.ts";
import { type Airlock, until } from "../support/airlock.ts";
import { type Asked, chance, type Mix, pick, randomJob, randomPipeline } from "./jobs_requests.ts";
import { JobWatcher } from "./jobs_watcher.ts";

/** A request without an answer; each job in it has an idempotency key. */
interface Doubt {
  readonly asked: readonly Asked[];
  readonly path: string;
  readonly body: unknown;
}

const batchMax = 8;
/** Only jobs this young are cancelled, tried again, or depended on. */
const youngMax = 60;
const watchersMax = 4;
const backTimeoutMs = 60_000;

export class JobsWorld {
  /** All that was ever sent, by tag. */
  readonly asked = new Map<string, Asked>();
  /** Tags of jobs that were accepted, by id. */
  readonly acknowledged = new Map<string, string>();
  /** Tags that are there together or not at all. */
  readonly batches: string[][] = [];
  /** Ids that somebody asked to cancel, whether there was an answer or not. */
  readonly cancelled = new Set<string>();
  readonly retried = new Set<string>();
  readonly watchers = new Map<string, JobWatcher>();
  #doubts: Doubt[] = [];
  #tags = 0;
  /** Requests whose answer was lost, and that were sent again. */
  resent = 0;

  constructor(public airlock: Airlock, readonly mix: Mix) {}

  /** One thing that a client does. Rejects with TypeError when there is no answer. */
  async act(): Promise<void> {
    const dice = Math.random();
    if (dice < 0.55) return await this.enqueue([this.#job()], "single");
    if (dice < 0.7) {
      const count = 2 + Math.floor(Math.random() * (batchMax - 1));
      return await this.enqueue(Array.from({ length: count }, () => this.#job()), "batch");
    }
    if (dice < 0.8) return await this.enqueue([randomPipeline(this.#tag(), this.mix)], "pipeline");
    const id = this.#young();
    if (id === undefined) return;
    await (dice < 0.88 ? this.#cancel(id) : this.#retry(id));
  }

  /** Sends again what had no answer, until it has. */
  async settleDoubts(): Promise<void> {
    for (let doubt = this.#doubts.shift(); doubt !== undefined; doubt = this.#doubts.shift()) {
      this.resent++;
      await this.#send(doubt);
    }
  }

  async isReady(): Promise<boolean> {
    try {
      return (await this.airlock.request("GET", "/readyz")).status === 200;
    } catch {
      return false; // nobody listens between two lives
    }
  }

  async ready(): Promise<void> {
    await until("Airlock ready", () => this.isReady(), backTimeoutMs);
  }

  async enqueue(asked: readonly Asked[], how: "single" | "batch" | "pipeline"): Promise<void> {
    for (const one of asked) this.asked.set(one.tag, one);
    if (how === "batch") this.batches.push(asked.map(({ tag }) => tag));
    const [first] = asked;
    const body = how === "batch" ? { jobs: asked.map((one) => one.body) } : first?.body;
    await this.#send({ asked, path: how === "pipeline" ? "/v1/pipelines" : "/v1/jobs", body });
  }

  /** Puts its plugins to rest. */
  async stop(): Promise<void> {
    for (const id of this.mix.plugins) await this.airlock.request("POST", `/v1/plugins/${id}/stop`);
  }

  /** Of random kind, depending on some that are there. */
  jobs(count: number): Asked[] {
    return Array.from({ length: count }, () => this.#job());
  }

  /** Follows some streaming jobs from their first event to their last. */
  #maybeWatch(id: string, { spec }: Asked): void {
    const underWay = [...this.watchers.values()].filter(({ isOver }) => !isOver).length;
    if (spec.kind !== "action" || spec.input.tokens === 0 || underWay >= watchersMax) return;
    this.watchers.set(id, new JobWatcher(id, () => this.airlock));
  }

  #tag(): string {
    return `t${++this.#tags}`;
  }

  #job(): Asked {
    const dependsOn = new Set<string>();
    while (chance(0.15)) {
      const id = this.#young();
      if (id !== undefined) dependsOn.add(id);
    }
    return randomJob(this.#tag(), this.mix, [...dependsOn]);
  }

  #young(): string | undefined {
    const ids = [...this.acknowledged.keys()].slice(-youngMax);
    return ids.length === 0 ? undefined : pick(ids);
  }

  async #send(doubt: Doubt): Promise<void> {
    const { asked, path, body } = doubt;
    const isKeyed = asked.every((one) => one.body["idempotencyKey"] !== undefined);
    if (isKeyed) this.#doubts.push(doubt);
    const answer = await this.airlock.request<JobView | { items: JobView[] }>("POST", path, body);
    if (isKeyed) this.#doubts = this.#doubts.filter((other) => other !== doubt);
    equal(answer.status, 202, JSON.stringify(answer.body));
    const views = "items" in answer.body ? answer.body.items : [answer.body];
    equal(views.length, asked.length);
    for (const [at, { id }] of views.entries()) {
      const one = asked[at]!;
      ok(!this.acknowledged.has(id) || this.acknowledged.get(id) === one.tag, `${id} is two jobs`);
      this.acknowledged.set(id, one.tag);
      this.#maybeWatch(id, one);
    }
  }

  async #cancel(id: string): Promise<void> {
    this.cancelled.add(id);
    const { status, body } = await this.airlock.request<JobView>("POST", `/v1/jobs/${id}/cancel`);
    equal(status, 200, JSON.stringify(body));
    // Another client may have had it tried again at the same time.
    if (!this.retried.has(id)) ok(["completed", "failed", "cancelled"].includes(body.state), body.state);
  }

  /** Not of one that depends on another: it would wait for that to be tried again too. */
  async #retry(id: string): Promise<void> {
    if (this.watchers.has(id)) return;
    const { body: view } = await this.airlock.request<JobView>("GET", `/v1/jobs/${id}`);
    if (!["failed", "cancelled"].includes(view.state) || view.dependsOn.length > 0) return;
    this.retried.add(id);
    const { status, body } = await this.airlock.request("POST", `/v1/jobs/${id}/retry`);
    ok([200, 409].includes(status), JSON.stringify(body));
  }
}

/**
 * A world for jobs: the composed jobs over a real file, with a router, a ledger and clocks that do what the test
 * says, and lives that end as a crash ends them. Only tests import this.
 *
 * @module
 */
import { configSchema } from "../../schemas/config.ts";
import type { JobFact } from "../../schemas/event.ts";
import { type JobRequest, jobRequestSchema, type JobView } from "../../schemas/job.ts";
import { type PipelineRequest, pipelineRequestSchema } from "../../schemas/pipeline.ts";
import { type ProblemCode, ProblemError } from "../../schemas/problem.ts";
import { settle, TestingClock } from "../../sandbox/testing_clock.ts";
import type { LedgerEventInput } from "../ledger/ledger.ts";
import type { Call, CallResult, CallTerms } from "../router/call.ts";
import type { JobsTable } from "../store/jobs_table.ts";
import { type JobsStore, openJobsStore } from "../store/jobs_store.ts";
import { createJobs, type JobsDeps, type JobsParts } from "./create_jobs.ts";
import { JobTraces } from "./job_traces.ts";
import type { Reader, ShownJob } from "./jobs.ts";

export const owner = "token:owner";
export const operator: Reader = { actor: "token:operator", readsAll: true };
export const ownerReader: Reader = { actor: owner, readsAll: false };

type Record = { type: string; actor: string; data: { [key: string]: unknown } };

/** The view with its output in it, as callers see it. */
function withOutput({ view, outputJson }: ShownJob): JobView {
  return { ...view, output: JSON.parse(outputJson ?? "null") };
}

/** What was appended, in order; `hold` keeps appends back until `letGo`, and a crash loses them. */
export class TestingLedger {
  readonly records: Record[] = [{ type: "ledger.created", actor: "kernel", data: {} }];
  /** So many appends are refused with QUEUE_FULL. */
  full = 0;
  hasFailed = false;
  isHeld = false;
  #held: (() => void)[] = [];

  append(event: LedgerEventInput) {
    if (this.hasFailed) return Promise.reject(new Error("disk"));
    if (this.full > 0) {
      this.full--;
      return Promise.reject(new ProblemError("QUEUE_FULL", "Cannot append: full"));
    }
    const { promise, resolve } = Promise.withResolvers<{ index: number; size: number; checkpoint: string }>();
    const write = () => {
      const { type, actor, data } = event;
      const size = this.records.push({ type, actor, data: { ...data } });
      resolve({ index: size - 1, size, checkpoint: "c" });
    };
    if (this.isHeld) this.#held.push(write);
    else write();
    return promise;
  }

  letGo(): void {
    this.isHeld = false;
    for (const write of this.#held.splice(0)) write();
  }

  crash(): void {
    this.#held = [];
    this.isHeld = false;
  }

  /** Types of the entries of a job, in order. */
  of(job: string): string[] {
    return this.records.filter(({ type, data }) => data.job === job && type.startsWith("job."))
      .map(({ type }) => type.slice(4));
  }

  ends(job: string): number {
    return this.of(job).filter((type) => ["completed", "failed", "cancelled"].includes(type)).length;
  }
}

/** A call that is under way. */
export class TestingCall {
  readonly promise: Promise<CallResult>;
  readonly #resolve: (result: CallResult) => void;
  readonly #reject: (error: unknown) => void;
  isOver = false;
  hasBegun = false;

  constructor(readonly call: Call, private readonly world: JobsWorld, ignoresAbort: boolean) {
    const { promise, resolve, reject } = Promise.withResolvers<CallResult>();
    [this.promise, this.#resolve, this.#reject] = [promise, resolve, reject];
    const abort = () => this.fail("CANCELLED");
    if (ignoresAbort) return;
    if (call.signal.aborted) abort();
    else call.signal.addEventListener("abort", abort, { once: true });
  }

  /** The entry is durable, and the plugin is given the input. */
  begin(): this {
    const { action, request } = this.call;
    this.world.ledger.records.push({ type: "call.accepted", actor: owner, data: { action, request } });
    this.hasBegun = true;
    this.call.onAccepted?.(this.world.ledger.records.length - 1);
    return this;
  }

  complete(output: unknown = {}): void {
    if (!this.hasBegun) this.begin();
    this.isOver = true;
    const bytes = new TextEncoder().encode(JSON.stringify(output));
    this.#resolve({
      ...{ output: bytes, durationMs: 1, inputSha256: "", outputSha256: "0".repeat(64) },
      ...{ ledger: { index: 0, size: 1 }, checkpoint: "c" },
    });
  }

  fail(code: ProblemCode, message = `Cannot call: ${code}`): void {
    this.isOver = true;
    this.#reject(new ProblemError(code, message));
  }
}

export const defaultTerms: CallTerms = {
  ...{ plugin: "p@1.0.0", concurrency: 4, isPerCall: false, isIdempotent: false, wallMs: 1_000 },
  retry: undefined,
};

export interface WorldOptions {
  readonly config?: Partial<typeof configSchema._input.jobs> | undefined;
  random?(): number;
}

export class JobsWorld implements Disposable {
  readonly folder = Deno.makeTempDirSync();
  readonly ledger = new TestingLedger();
  readonly calls: TestingCall[] = [];
  readonly warnings: string[] = [];
  readonly fatal: Error[] = [];
  readonly facts: JobFact[] = [];
  /** States in which jobs ended, as they were counted. */
  readonly ended: string[] = [];
  /** Actors whose tokens count no more. */
  readonly revoked = new Set<string>();
  /** How often it was asked of an actor. */
  asked = 0;
  traces = new JobTraces();
  /** What the lanes count. */
  now = { waiting: 0, running: 0 };
  /** By plugin, or `plugin/action`. */
  readonly terms = new Map<string, Partial<CallTerms>>();
  /** Plugins that take no calls; the value is why. */
  readonly refused = new Map<string, ProblemError>();
  wallMs = Date.parse("2026-01-01T00:00:00Z");
  ignoresAbort = false;
  life = 0;
  statements = 0;
  clock = new TestingClock();
  store!: JobsStore;
  jobs!: JobsParts;
  #ids = 0;
  #deferred: (() => void)[] = [];

  constructor(private readonly options: WorldOptions = {}) {}

  get service() {
    return this.jobs.service;
  }

  get live(): TestingCall[] {
    return this.calls.filter(({ isOver }) => !isOver);
  }

  static async open(options: WorldOptions = {}): Promise<JobsWorld> {
    const world = new JobsWorld(options);
    await world.start();
    return world;
  }

  async start(): Promise<void> {
    this.life++;
    this.clock = new TestingClock();
    const store = openJobsStore({ file: `${this.folder}/jobs.db` });
    this.store = { ...store, jobs: this.#counted(store.jobs) };
    const traces = this.traces = new JobTraces();
    this.ledger.records.forEach((record, seq) => traces.take({ seq, ...record } as never));
    this.ledger.records.push({ type: "kernel.started", actor: "kernel", data: {} });
    const opening = createJobs(this.#deps(traces));
    let isOpen = false;
    opening.then(() => isOpen = true, () => isOpen = true);
    while (!isOpen && this.fatal.length === 0) {
      await this.turn();
      if (!isOpen) await this.clock.pass(50);
    }
    this.jobs = await opening;
    await this.turn();
  }

  /** All that is in memory is gone. */
  async crash(): Promise<void> {
    this.#end();
    await settle();
    await this.start();
  }

  async drain(cut: (call: TestingCall) => void = (call) => call.fail("PLUGIN_CRASHED")): Promise<void> {
    this.jobs.close();
    for (const call of this.live) cut(call);
    await this.finish(this.jobs.settled());
    this.#end();
    await settle();
  }

  #end(): void {
    this.life++;
    this.#deferred = [];
    this.ledger.crash();
    this.calls.length = 0;
    this.store[Symbol.dispose]();
  }

  /** Turns of the event loop, until nothing is deferred or it is as far as is wanted. */
  async turn(isFar = (): boolean => false): Promise<void> {
    await settle();
    for (let turns = 0; this.#deferred.length > 0 && !isFar(); turns++) {
      if (turns > 20_000) throw new Error("The world does not come to rest");
      this.#deferred.shift()?.();
      await settle();
    }
  }

  async finish<T>(work: Promise<T>): Promise<T> {
    work.catch(() => {});
    await this.turn();
    return await work;
  }

  /** Both clocks. */
  async pass(ms: number): Promise<void> {
    this.wallMs += ms;
    await this.clock.pass(ms);
    await this.turn();
  }

  async enqueue(request: Partial<JobRequest> = {}, actor = owner): Promise<JobView> {
    const [view] = await this.enqueueAll([request], actor);
    return view!;
  }

  async enqueueAll(requests: Partial<JobRequest>[], actor = owner): Promise<JobView[]> {
    const parsed = requests.map((request) =>
      jobRequestSchema.parse({ plugin: "p", action: "a", ...request })
    );
    return (await this.finish(this.service.enqueue(parsed, actor))).value.map(withOutput);
  }

  async enqueuePipeline(request: typeof pipelineRequestSchema._input): Promise<JobView> {
    const parsed: PipelineRequest = pipelineRequestSchema.parse(request);
    return withOutput((await this.finish(this.service.enqueuePipeline(parsed, owner))).value);
  }

  async get(id: string, reader: Reader = operator): Promise<JobView> {
    return withOutput(await this.finish(this.service.get(id, reader)));
  }

  async state(id: string): Promise<string> {
    const { state, waitingFor, error, attempt } = await this.get(id);
    const code = state === "failed" ? ` ${error?.code}` : "";
    return `${state}${waitingFor === null ? "" : ` ${waitingFor}`}${code} ${attempt}`;
  }

  callOf(id: string): TestingCall {
    const call = this.live.findLast(({ call }) => call.job?.id === id);
    if (call === undefined) throw new Error(`No call of job ${id} is under way`);
    return call;
  }

  row(id: string) {
    return this.store.jobs.find(id)!;
  }

  #deps(traces: JobTraces): JobsDeps {
    const { life } = this;
    const isAlive = () => life === this.life;
    const never = new Promise<never>(() => {});
    const { random = () => 0.5, config = {} } = this.options;
    return {
      config: configSchema.parse({ jobs: config }).jobs,
      inputBytesMax: 1_000_000,
      store: this.store,
      ledger: {
        append: (event) => isAlive() ? this.ledger.append(event) : never,
        checkpointBase64: () => "c",
      },
      router: {
        invoke: (call) => isAlive() ? this.#invoke(call) : never,
        check: (plugin, action) => this.#check(plugin, action),
        describe: (plugin) => {
          const { code } = this.refused.get(plugin) ?? {};
          if (code === "PLUGIN_NOT_FOUND") throw this.refused.get(plugin);
        },
      },
      feed: { publish: (_, data) => void ("job" in data && this.facts.push(data)) },
      metrics: {
        jobEnded: ({ state }) => void this.ended.push(state),
        jobsNow: (now) => void (this.now = now),
        jobsCommitted() {},
      },
      traces,
      life: `life${life}`,
      nameOf: (plugin) => `${plugin}@1.0.0`,
      isActive: (actor) => {
        this.asked++;
        return !this.revoked.has(actor);
      },
      newId: () => `01${String(++this.#ids).padStart(24, "0")}`,
      nowMs: () => this.wallMs,
      random,
      clock: this.clock,
      defer: (work) => void (isAlive() && this.#deferred.push(work)),
      track: (work) => void work.catch(() => {}),
      warn: (message) => void this.warnings.push(message),
      fatal: (error) => void this.fatal.push(error),
    };
  }

  /** Each method of the table is one statement, or two. */
  #counted(table: JobsTable): JobsTable {
    const count = () => this.statements++;
    return new Proxy(table, {
      get(target, name, receiver) {
        count();
        return Reflect.get(target, name, receiver);
      },
    });
  }

  #invoke(call: Call): Promise<CallResult> {
    const testing = new TestingCall(call, this, this.ignoresAbort);
    this.calls.push(testing);
    return testing.promise;
  }

  #check(plugin: string, action: string): CallTerms {
    const refused = this.refused.get(plugin);
    if (refused !== undefined) throw refused;
    return { ...defaultTerms, ...this.terms.get(plugin), ...this.terms.get(`${plugin}/${action}`) };
  }

  [Symbol.dispose](): void {
    this.#end();
    Deno.removeSync(this.folder, { recursive: true });
  }
}

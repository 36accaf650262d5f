/**
 * Claims beside jobs that wait: the claim's own statements in this process, and the way from a request to the
 * plugin. What waits is 100 and 100,000 jobs, in turns.
 *
 * @module
 */
import { ulid } from "ulid";
import { Lanes } from "../kernel/jobs/lanes.ts";
import { acquireLease } from "../kernel/jobs/lease.ts";
import { Queue } from "../kernel/jobs/queue.ts";
import { WaitingCounts } from "../kernel/jobs/waiting_counts.ts";
import { openJobsStore } from "../kernel/store/jobs_store.ts";
import { type BenchPlugin, type JobsKernel, startKernel, wallMs } from "./jobs_kernel.ts";
import { median } from "./statistics.ts";

const fewJobs = 100;
const manyJobs = 100_000;
const batchMax = 1_000;
const claims = 1_000;
const starts = 200;
const life = "bench";

/** Medians in milliseconds. */
export interface Waits {
  readonly few: number;
  readonly many: number;
  readonly ratio: number;
}

/** The first in line is found, read and claimed; a commit comes after the time that is taken. */
export function measureClaims(folder: string): Waits {
  using few = new ClaimSubject(`${folder}/claims-few.db`, fewJobs);
  using many = new ClaimSubject(`${folder}/claims-many.db`, manyJobs);
  const found = { few: [] as number[], many: [] as number[] };
  for (let claim = 0; claim < claims; claim++) {
    found.few.push(few.claim());
    found.many.push(many.claim());
  }
  return waitsOf(found);
}

class ClaimSubject implements Disposable {
  readonly #store;
  readonly #lanes;
  readonly #queue: Queue;

  constructor(file: string, jobs: number) {
    const store = openJobsStore({ file });
    this.#store = store;
    this.#lanes = new Lanes(({ plugin, action }) => store.jobs.head(plugin, action), []);
    this.#queue = new Queue({
      table: store.jobs,
      lanes: this.#lanes,
      events: { stage: () => true },
      nowMs: Date.now,
      waiting: new WaitingCounts(),
    });
    store.transact(() => {
      for (let job = 0; job < jobs; job++) this.#insert();
    });
  }

  /** Milliseconds of one claim. As many wait afterwards as before. */
  claim(): number {
    const ms = this.#store.transact(() => {
      const startedMs = performance.now();
      const [lane] = this.#lanes.all();
      const head = lane === undefined ? undefined : this.#lanes.head(lane);
      const row = head === undefined ? undefined : this.#store.jobs.get(head.seq);
      if (row === undefined) throw new Error("Cannot claim a job: none waits");
      const lease = acquireLease(row, { life, nowMs: 0, ttlMs: 1 });
      this.#queue.claim(row.seq, lease, { isIdempotent: false, policy: null });
      const tookMs = performance.now() - startedMs;
      this.#insert();
      return tookMs;
    });
    this.#queue.takeChanges();
    return ms;
  }

  [Symbol.dispose](): void {
    this.#store[Symbol.dispose]();
  }

  #insert(): void {
    this.#queue.insert({
      ...{ id: ulid(), kind: "action", plugin: "bench", action: "noop", actor: "token:a", parent: null },
      ...{ step: null, schedule: null, idempotencyKey: null, requestSha256: new Uint8Array(32) },
      ...{ priority: 0, dueAtMs: null, expiresAtMs: null, deadlineMs: null, retry: null },
      ...{ concurrencyKey: null, concurrencyMax: null, inputSha256: "", planSha256: null },
    }, new Uint8Array());
  }
}

/** From the request to the first line of an action, while others wait for one that is busy. */
export async function measureStarts(
  resources: AsyncDisposableStack,
  folder: string,
  plugin: BenchPlugin,
): Promise<Waits> {
  const few = await startKernel(resources, `${folder}/few`, plugin);
  const many = await startKernel(resources, `${folder}/many`, plugin);
  await enqueueHeld(few, fewJobs);
  await enqueueHeld(many, manyJobs);
  const found = { few: [] as number[], many: [] as number[] };
  for (let start = 0; start < starts; start++) {
    found.few.push(await measureStart(few, start));
    found.many.push(await measureStart(many, start));
  }
  return waitsOf(found);
}

async function enqueueHeld(kernel: JobsKernel, jobs: number): Promise<void> {
  const request = { plugin: "bench", action: "hold" };
  for (let left = jobs; left > 0; left -= batchMax) {
    const batch = Array.from({ length: Math.min(batchMax, left) }, () => request);
    await kernel.enqueue(JSON.stringify({ jobs: batch }));
  }
}

async function measureStart(kernel: JobsKernel, n: number): Promise<number> {
  const sentMs = wallMs();
  await kernel.enqueue(JSON.stringify({ plugin: "bench", action: "noop", input: { n }, priority: 1 }));
  await kernel.fewer("noop");
  const begunMs = kernel.outputs("noop").get(n);
  if (begunMs === undefined) throw new Error(`Cannot measure job ${n}: it did not complete`);
  return begunMs - sentMs;
}

function waitsOf(found: { readonly few: readonly number[]; readonly many: readonly number[] }): Waits {
  const few = median(found.few);
  const many = median(found.many);
  return { few, many, ratio: many / few };
}

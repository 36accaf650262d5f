/**
 * A queue over a real file, without what makes calls: a test makes its transactions. Only tests import this.
 *
 * @module
 */
import { openJobsStore } from "../store/jobs_store.ts";
import type { JobRow } from "../store/job_row.ts";
import { Lanes } from "./lanes.ts";
import { type Changes, type Inserted, Queue } from "./queue.ts";
import { WaitingCounts } from "./waiting_counts.ts";

export function createTestingQueue() {
  const folder = Deno.makeTempDirSync();
  const store = openJobsStore({ file: `${folder}/jobs.db` });
  const clock = { wallMs: 1_000_000_000_000 };
  const staged: { job: number; type: string }[] = [];
  let ids = 0;
  const createQueue = () =>
    new Queue({
      table: store.jobs,
      lanes: new Lanes(({ plugin, action }) => store.jobs.head(plugin, action), store.jobs.lanes()),
      events: { stage: (job, type) => staged.push({ job, type }) > 0 },
      nowMs: () => clock.wallMs,
      waiting: new WaitingCounts(store.jobs.waiting()),
    });
  const testing = {
    ...{ store, clock, staged },
    queue: createQueue(),
    /** All that is in memory is gone. */
    crash(): void {
      testing.queue = createQueue();
    },
    insert(job: Partial<Inserted> = {}, dependsOn: readonly JobRow[] = []): JobRow {
      return testing.queue.insert(
        {
          ...{ id: `01${String(++ids).padStart(24, "0")}`, kind: "action", plugin: "p", action: "a" },
          ...{ actor: "token:a", parent: null, step: null, schedule: null, idempotencyKey: null },
          ...{ requestSha256: new Uint8Array(), priority: 0, dueAtMs: null, expiresAtMs: null },
          ...{ deadlineMs: null, retry: null, concurrencyKey: null, concurrencyMax: null },
          ...{ inputSha256: "", planSha256: null },
          ...job,
        },
        new TextEncoder().encode("{}"),
        dependsOn,
      );
    },
    /** A transaction, with what it does of what follows. */
    commit<T>(work: () => T, { isFollowed = true } = {}): { value: T; changes: Changes } {
      const value = store.transact(() => {
        const made = work();
        if (isFollowed) testing.queue.follow(0);
        return made;
      });
      return { value, changes: testing.queue.takeChanges() };
    },
    [Symbol.dispose](): void {
      store[Symbol.dispose]();
      Deno.removeSync(folder, { recursive: true });
    },
  };
  return testing;
}

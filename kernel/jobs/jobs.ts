/**
 * Jobs: durable work, as the rest of the kernel asks for it.
 *
 * Types only; `create_jobs.ts` composes them.
 *
 * @module
 */
import type {
  JobLogLine,
  JobRequest,
  JobState,
  JobView,
  Redrive,
  ScheduleRequest,
  ScheduleView,
} from "../../schemas/job.ts";
import type { PipelineRequest } from "../../schemas/pipeline.ts";
import type { EventCursor } from "../bus/event_cursor.ts";

/** A value, and the signed checkpoint (base64 of the note) that covers the act that made it. */
export interface Recorded<T> {
  readonly value: T;
  readonly checkpoint: string;
}

export interface JobsQuery {
  readonly state?: JobState | undefined;
  readonly plugin?: string | undefined;
  readonly parent?: string | undefined;
  /** Id of the last job of the page before; the newest come first. */
  readonly after?: string | undefined;
  readonly limit: number;
}

/** Who enqueued a job may read what is in it, and operators may. */
export interface Reader {
  readonly actor: string;
  /** Of an operator or above. */
  readonly readsAll: boolean;
}

/** A job, and what came of it, as it is stored: parsing it would hold up everybody. */
export interface ShownJob {
  /** `output` is null. */
  readonly view: JobView;
  /** Text of exactly one JSON value; null where there is none, and for who may not read it. */
  readonly outputJson: string | null;
}

/** A page; `next` is the id of its last one, null where it is the last page. */
export interface SchedulesPage {
  readonly items: ScheduleView[];
  readonly next: string | null;
}

export interface Jobs {
  /**
   * Accepts all of them or none; durable, and in the ledger, when it resolves. Rejects with ProblemError
   * PLUGIN_NOT_FOUND, ACTION_NOT_FOUND, PLUGIN_REJECTED, JOB_NOT_FOUND (a dependency), INPUT_INVALID, CONFLICT (an
   * idempotency key that was used for something else), QUEUE_FULL, NOT_READY.
   */
  enqueue(requests: readonly JobRequest[], actor: string): Promise<Recorded<ShownJob[]>>;
  /** Likewise; INPUT_INVALID where the plan cannot be carried out. */
  enqueuePipeline(request: PipelineRequest, actor: string): Promise<Recorded<ShownJob>>;
  /** Throws JOB_NOT_FOUND. Resolves when what it shows of an end is in the ledger. */
  get(id: string, reader: Reader): Promise<ShownJob>;
  list(query: JobsQuery, reader: Reader): { items: JobView[]; next: string | null };
  /**
   * Resolves when the job has ended, by this or by itself; one that has ended already is left as it is. A running
   * one is told, and after `jobs.cancelGraceMs` its cell is killed. With a pipeline go the jobs below it.
   */
  cancel(id: string, actor: string, reader: Reader): Promise<Recorded<ShownJob>>;
  /** A failed or cancelled job is pending again, with all its attempts. Rejects with CONFLICT on any other. */
  retry(id: string, actor: string, reader: Reader): Promise<Recorded<ShownJob>>;
  /** The same for many failed ones, the oldest first. */
  redrive(filter: Redrive, actor: string): Promise<Recorded<{ jobs: string[] }>>;
  /**
   * The job's events with a number above `after` (ids are numbers in decimal). Throws JOB_NOT_FOUND, and FORBIDDEN
   * for who may not read what is in it.
   */
  watch(id: string, after: number, reader: Reader): EventCursor;
  /** Throws as `watch` does. Lines with a `seq` above `after`, ascending. */
  logs(id: string, page: { after?: number | undefined; limit: number }, reader: Reader): JobLogLine[];
  createSchedule(request: ScheduleRequest, actor: string): Promise<Recorded<ScheduleView>>;
  /** Those whose id is above `after`, ascending; names only to who made them and to who reads all. */
  listSchedules(page: { after?: string | undefined; limit: number }, reader: Reader): SchedulesPage;
  /** Rejects with SCHEDULE_NOT_FOUND. Jobs that came of it stay. */
  deleteSchedule(id: string, actor: string): Promise<Recorded<null>>;
}

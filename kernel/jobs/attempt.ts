/**
 * An attempt is one call of a job's action, under a lease.
 *
 * @module
 */
import type { JobRetry } from "../../schemas/job.ts";
import { ProblemError } from "../../schemas/problem.ts";
import type { Call, CallResult } from "../router/call.ts";
import type { JobRow } from "../store/job_row.ts";
import type { JobEvents } from "./job_events.ts";
import type { Lease } from "./lease.ts";

export interface AttemptDeps {
  readonly events: Pick<JobEvents, "stage" | "stageLog" | "flushed">;
  readonly router: { invoke(call: Call): Promise<CallResult> };
  nowMs(): number;
  /** A clock that only runs forward. */
  monotonicMs(): number;
  /** The job has come further; not as often as it says so. */
  progressed(row: JobRow): void;
}

/** Between two tellings of one attempt's progress to everybody. */
const progressIntervalMs = 500;

/** What an attempt came to. */
export type AttemptEnd = { readonly result: CallResult } | { readonly problem: ProblemError };

export class Attempt {
  progress = 0;
  note: string | null = null;
  #hasBegun = false;
  #overflow: ProblemError | undefined;
  /** Its job is another's: nothing that it says counts any more. */
  #isLost = false;
  #progressToldMs = -Infinity;
  readonly #stop = new AbortController();

  constructor(
    /** As it was claimed. */
    readonly row: JobRow,
    readonly lease: Lease,
    readonly policy: JobRetry,
    private readonly deps: AttemptDeps,
  ) {}

  /** The plugin may have seen the input. */
  get hasBegun(): boolean {
    return this.#hasBegun;
  }

  /** Tells the action to stop. */
  stop(): void {
    this.#stop.abort();
  }

  /** Its lease has ended. */
  lose(): void {
    this.#isLost = true;
    this.stop();
  }

  /** Makes the call. Never rejects. */
  async run(
    input: Uint8Array<ArrayBuffer>,
    { wallMsMax, cancelGraceMs }: { wallMsMax: number; cancelGraceMs: number },
  ): Promise<AttemptEnd> {
    const { id, attempt, actor, plugin, action } = this.row;
    // The number of an attempt that had not begun is used again; that of a lease never.
    const request = `${id}-${this.lease.token}`;
    try {
      const result = await this.deps.router.invoke({
        ...{ plugin: plugin ?? "", action: action ?? "", input, actor, request, wallMsMax, cancelGraceMs },
        job: { id, attempt },
        signal: this.#stop.signal,
        sink: {
          token: (json) => this.#token(json),
          progress: (progress) => this.#progress(progress),
          log: (level, text) => this.#log(level, text),
        },
        onAccepted: () => {
          // The next attempt may be under way already: the plugin must not see the input twice for one of them.
          if (this.#isLost) {
            throw new ProblemError("CANCELLED", `Cannot run job "${id}": its lease has ended`);
          }
          this.#hasBegun = true;
        },
      });
      // Its action was told to stop, and did not heed it: what it returns is without the tokens that were too many.
      return this.#overflow === undefined ? { result } : { problem: this.#overflow };
    } catch (error) {
      if (this.#overflow !== undefined) return { problem: this.#overflow };
      if (error instanceof ProblemError) return { problem: error };
      const problem = new ProblemError("INTERNAL", `Cannot run job "${id}": Airlock failed`, {
        cause: error,
      });
      return { problem };
    }
  }

  async #token(json: string): Promise<void> {
    const { seq, id } = this.row;
    if (this.#isLost) return;
    if (!this.deps.events.stage(seq, "JOB_TOKEN", json)) {
      this.#overflow ??= new ProblemError("LIMIT_OUTPUT", `Cannot run job "${id}": its events are too large`);
      this.stop();
    }
    await this.deps.events.flushed(seq);
  }

  #progress({ fraction, note }: { fraction: number; note: string }): void {
    if (this.#isLost) return;
    this.progress = fraction;
    this.note = note;
    this.deps.events.stage(this.row.seq, "JOB_PROGRESS", JSON.stringify({ fraction, note }));
    const nowMs = this.deps.monotonicMs();
    if (nowMs - this.#progressToldMs < progressIntervalMs) return;
    this.#progressToldMs = nowMs;
    this.deps.progressed({ ...this.row, progress: fraction });
  }

  #log(level: "debug" | "info" | "warn" | "error", text: string): void {
    if (this.#isLost) return;
    const { seq, attempt } = this.row;
    this.deps.events.stageLog(seq, attempt, level === "warn" ? "warning" : level, text, this.deps.nowMs());
  }
}

/**
 * The demand of a cell for the CPU: whether it is greedy.
 *
 * A cell with a thread that hardly ever rests, or with threads that together want more than a core and a half, is
 * greedy: it runs behind the others for as long as it is, and takes turns with those that are greedy too, see
 * `cpu_turns.ts`. That takes nothing from it on a machine that has CPU time to spare.
 *
 * But waiting is made by neighbours: what needs half a core, and is given two fifths beside four loops, is always
 * behind with its work and never rests either. No ratio of the two tells it from a loop. So who is greedy is given a
 * trial from time to time, with the rights of the others: it has passed when it rests then. Each trial that is
 * failed doubles the time to the next, so a loop has little of that.
 *
 * A burst is forgiven, but not again and again: one whose plugin was greedy not long ago, in this cell or in one
 * before it, is found out sooner.
 *
 * Pure, but for {@linkcode canLowerNiceness}.
 *
 * @module
 */
import { getPriority, setPriority } from "node:os";
import type { ThreadDemand } from "./proc.ts";
import { ThreadShares } from "./thread_shares.ts";

/** Shares are those of about so long; of a suspect, as long as it is modest, of less. */
const windowMs = { usual: 400, suspect: 100 } as const;
/** Shares of a core. A thread that is greedy is so until it clearly rests. */
const greedyFrom = { thread: 0.85, cell: 1.5 } as const;
const modestBelow = { thread: 0.6, cell: 1 } as const;
/** Greedy for so long, without what it stood still: no burst. */
const confirmedMs = 800;
/** A loop is found out well before. */
const trialMs = 2_000;
/** From becoming greedy to a trial: half as long to one and a half, so that neighbours do not have theirs together. */
const trialAfterMs = { least: 5_000, most: 300_000 } as const;

export interface DemandLook {
  readonly threads: ReadonlyMap<number, ThreadDemand>;
  /** Since the last one. */
  readonly elapsedMs: number;
  /** Of that, while it could run. */
  readonly awakeMs: number;
  /** Its plugin is among the {@linkcode Suspects}: how long it is to be greedy before it is tried. */
  readonly suspectTrialAfterMs?: number | undefined;
}

export class CpuDemand {
  readonly #shares = new ThreadShares();
  #state: "modest" | "greedy" | "trial" = "modest";
  /** In this state. */
  #stateMs = 0;
  #trialDueMs = 0;
  #trialAfterMs: number = trialAfterMs.least;
  #hasPassed = false;
  /** In this state, while it could run. */
  #stateAwakeMs = 0;

  /** `random`: below 1. */
  constructor(private readonly random: () => number = () => Math.random()) {}

  get isGreedy(): boolean {
    return this.#state === "greedy";
  }

  /** Cores that it wants. */
  get cores(): number {
    return this.#shares.sum;
  }

  /** It was so for longer than a burst of work takes. */
  get isConfirmed(): boolean {
    return this.isGreedy && this.#stateAwakeMs >= confirmedMs;
  }

  /** From becoming greedy to a trial, about. */
  get trialAfterMs(): number {
    return this.#trialAfterMs;
  }

  /** Its last look ended a trial that it has passed. */
  get hasPassed(): boolean {
    return this.#hasPassed;
  }

  take({ threads, elapsedMs, awakeMs, suspectTrialAfterMs }: DemandLook): boolean {
    const isHurried = suspectTrialAfterMs !== undefined && this.#state === "modest";
    this.#shares.take(threads, awakeMs, isHurried ? windowMs.suspect : windowMs.usual);
    const bounds = this.isGreedy ? modestBelow : greedyFrom;
    this.#stateMs += elapsedMs;
    this.#stateAwakeMs += awakeMs;
    this.#hasPassed = false;
    this.#judge(this.#shares.most > bounds.thread || this.#shares.sum > bounds.cell, suspectTrialAfterMs);
    return this.isGreedy;
  }

  #judge(wantsMuch: boolean, afterMs: number = trialAfterMs.least): void {
    switch (this.#state) {
      case "modest":
        if (wantsMuch) this.#becomeGreedy(afterMs);
        return;
      case "trial":
        if (wantsMuch) this.#becomeGreedy(Math.min(trialAfterMs.most, 2 * this.#trialAfterMs));
        else if (this.#stateAwakeMs >= trialMs) {
          this.#hasPassed = true;
          this.#enter("modest");
        }
        return;
      case "greedy":
        if (!wantsMuch) this.#enter("modest");
        else if (this.#stateMs >= this.#trialDueMs) this.#tryOut();
    }
  }

  #becomeGreedy(trialAfterMs: number): void {
    this.#trialAfterMs = trialAfterMs;
    this.#trialDueMs = trialAfterMs * (0.5 + this.random());
    this.#enter("greedy");
  }

  /** Nothing of what it did so far counts. */
  forget(): void {
    this.#shares.forget();
    this.#enter("modest");
  }

  /** What it wanted while it ran behind the others does not count. */
  #tryOut(): void {
    this.#shares.forget();
    this.#enter("trial");
  }

  #enter(state: "modest" | "greedy" | "trial"): void {
    this.#state = state;
    this.#stateMs = 0;
    this.#stateAwakeMs = 0;
  }
}

/** Whether a process of this user may be given back the niceness that it had. Tried on this process itself. */
export function canLowerNiceness(): boolean {
  const nice = getPriority();
  const lower = Math.max(-20, nice - 1);
  try {
    setPriority(lower);
  } catch {
    return false; // it is refused to all but root
  }
  setPriority(nice);
  return true;
}

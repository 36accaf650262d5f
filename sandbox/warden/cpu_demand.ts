/**
 * The demand of a cell for the CPU: what its threads had of it, and what they waited for.
 *
 * What a cell was given says little of it while others want the CPU too: one that computes without end is starved
 * by them, and reads as modest. What it would have taken changes less with its neighbours. So a cell with a thread
 * that hardly ever rests, or with threads that together want more than a core and a half, is greedy: it runs behind
 * the others for as long as it is. That takes nothing from it on a machine that has CPU time to spare. A thread that
 * takes the place of one that ended goes on with its demand: a loop that moves on to a new Worker is the same loop.
 *
 * But waiting is made by neighbours: what needs half a core, and is given two fifths beside four loops, is always
 * behind with its work and never rests either. No ratio of the two tells it from a loop. So who is greedy is given a
 * trial from time to time, with the priority of the others: it has passed when it rests then. Each trial that is
 * failed doubles the time to the next, so a loop has little of that.
 *
 * This is of use only where a niceness can be lowered again, which is for root alone: elsewhere it would be for ever,
 * so nobody is to be put behind for being greedy, see {@linkcode canLowerNiceness}.
 *
 * Pure, but for that.
 *
 * @module
 */
import { getPriority, setPriority } from "node:os";
import type { ThreadDemand } from "./proc.ts";

/** Shares of a core, over about {@linkcode windowMs}. A thread that is greedy is so until it clearly rests. */
const greedyFrom = { thread: 0.85, cell: 1.5 } as const;
const modestBelow = { thread: 0.6, cell: 1 } as const;
const windowMs = 400;
/** Of a thread that ended, less is forgotten. */
const endedShareMin = 0.01;
/** A loop is found out well before. */
const trialMs = 2_000;
/** From becoming greedy to a trial: half as long to one and a half, so that neighbours do not have theirs together. */
const trialAfterMs = { least: 5_000, most: 300_000 } as const;

interface Known extends ThreadDemand {
  readonly share: number;
}

export class CpuDemand {
  /** Undefined before the first look. */
  #threads: ReadonlyMap<number, Known> | undefined;
  /** Shares of threads that ended and whose place none has taken, ascending. */
  #ended: readonly number[] = [];
  #state: "modest" | "greedy" | "trial" = "modest";
  /** In this state. */
  #stateMs = 0;
  #trialDueMs = 0;
  #trialAfterMs: number = trialAfterMs.least;

  /** `random`: below 1. */
  constructor(private readonly random: () => number = () => Math.random()) {}

  get isGreedy(): boolean {
    return this.#state === "greedy";
  }

  /** `elapsedMs`: since the last time. */
  take(threads: ReadonlyMap<number, ThreadDemand>, elapsedMs: number): boolean {
    this.#look(threads, elapsedMs);
    const shares = [...(this.#threads ?? new Map<number, Known>()).values()].map(({ share }) => share);
    const most = Math.max(0, ...shares);
    const sum = [...shares, ...this.#ended].reduce((sum, share) => sum + share, 0);
    const bounds = this.isGreedy ? modestBelow : greedyFrom;
    this.#stateMs += elapsedMs;
    this.#judge(most > bounds.thread || sum > bounds.cell);
    return this.isGreedy;
  }

  #judge(wantsMuch: boolean): void {
    switch (this.#state) {
      case "modest":
        if (wantsMuch) this.#becomeGreedy(trialAfterMs.least);
        return;
      case "trial":
        if (wantsMuch) this.#becomeGreedy(Math.min(trialAfterMs.most, 2 * this.#trialAfterMs));
        else if (this.#stateMs >= trialMs) this.#enter("modest");
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

  /** What it wanted while it ran behind the others does not count. */
  #tryOut(): void {
    const threads = this.#threads ?? new Map<number, Known>();
    this.#threads = new Map([...threads].map(([thread, known]) => [thread, { ...known, share: 0 }]));
    this.#ended = [];
    this.#enter("trial");
  }

  #enter(state: "modest" | "greedy" | "trial"): void {
    this.#state = state;
    this.#stateMs = 0;
  }

  #look(threads: ReadonlyMap<number, ThreadDemand>, elapsedMs: number): void {
    const weight = 1 - Math.exp(-elapsedMs / windowMs);
    // At the first look nobody knows since when it ran.
    const known = this.#threads;
    const found = [...threads].map(([thread, { ranMs, waitedMs }]) => {
      const before = known === undefined ? { ranMs, waitedMs, share: 0 } : known.get(thread);
      const wantedMs = ranMs + waitedMs - (before?.ranMs ?? 0) - (before?.waitedMs ?? 0);
      return { thread, ranMs, waitedMs, wantedMs, before };
    }).sort((a, b) => b.wantedMs - a.wantedMs);
    const gone = [...known ?? []].filter(([thread]) => !threads.has(thread)).map(([, { share }]) => share);
    const ended = [...this.#ended, ...gone].sort((a, b) => a - b);
    const taken = new Map<number, Known>();
    for (const { thread, ranMs, waitedMs, wantedMs, before } of found) {
      const share = before?.share ?? ended.pop() ?? 0;
      const wanted = Math.min(1, Math.max(0, wantedMs) / elapsedMs);
      taken.set(thread, { ranMs, waitedMs, share: share * (1 - weight) + wanted * weight });
    }
    this.#threads = taken;
    this.#ended = ended.map((share) => share * (1 - weight)).filter((share) => share >= endedShareMin);
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

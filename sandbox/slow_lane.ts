/**
 * The slow lane: long work on the event loop, one at a time and in slices.
 *
 * Whoever has more to do than fits between two others' turns does it in here: frames of a cell that sends without
 * end, the check of an output of many megabytes. After each slice everything else has its turn; and where there was
 * something else lately, the lane rests for several times as long as the slice took. So all that is long takes a part
 * of the time of a loop that others use, however many there are, and all of an idle one. What others took is no
 * measure: they wait for one another, for a disk and for cells, and a call that passes the loop six times must not
 * meet a slice each time.
 *
 * @module
 */
import { createHash, type Hash } from "node:crypto";
import { setImmediate } from "node:timers";
import { type Clock, systemClock } from "./clock.ts";
import { OwnTimes } from "./own_time.ts";

/** What a slice should take. */
const sliceMs = 0.5;
/** Beside others the lane rests for as many times what a slice took. */
const restsPerSlice = 5;
/** A turn of everything else is longer where there is something: one small request takes fifty microseconds. */
const emptyTurnMs = 0.02;
/** For so long others are expected to come again. */
const expectedMs = 20;
/** A shorter rest is owed. */
const restMsMin = 1;
/** A slice that took longer was held up itself: by a process that was stopped, by the collection of garbage. */
const workedMsMax = 10;
/** Hashed between two looks at the clock. */
const hashedBytes = 131_072;

export class SlowLane {
  /** What cells may do beside the lane. */
  readonly own: OwnTimes;
  readonly #waiting: (() => void)[] = [];
  #isTaken = false;
  /** When others had something to do last, and the second time in a row. */
  #othersAtMs = -Infinity;
  #othersAgainAtMs = -Infinity;
  #restsUntilMs = -Infinity;

  constructor(private readonly clock: Clock = systemClock) {
    this.own = new OwnTimes(() => clock.nowMs());
  }

  /**
   * Runs `slice` when it is its turn. Resolves to what it returns, rejects with what it throws. Nothing in it may be
   * asynchronous: the turn is over when it returns.
   */
  async run<T>(slice: () => T): Promise<T> {
    if (this.#isTaken) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#waiting.push(resolve);
      await promise;
    }
    this.#isTaken = true;
    const restMs = this.#restsUntilMs - this.clock.nowMs();
    if (restMs >= restMsMin) await this.#pause(restMs);
    const startedMs = this.clock.nowMs();
    try {
      return slice();
    } finally {
      void this.#rest(this.clock.nowMs() - startedMs);
    }
  }

  async #rest(workedMs: number): Promise<void> {
    const startedMs = this.clock.nowMs();
    await nextTurn();
    const nowMs = this.clock.nowMs();
    if (nowMs - startedMs >= emptyTurnMs) {
      if (nowMs - this.#othersAtMs <= expectedMs) this.#othersAgainAtMs = nowMs;
      this.#othersAtMs = nowMs;
    }
    const isAlone = nowMs - this.#othersAgainAtMs > expectedMs;
    const restMs = isAlone ? 0 : restsPerSlice * Math.min(workedMs, workedMsMax);
    this.#restsUntilMs = Math.max(this.#restsUntilMs, startedMs) + restMs;
    const next = this.#waiting.shift();
    if (next === undefined) this.#isTaken = false;
    else next();
  }

  async #pause(ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.clock.setTimer(resolve, ms);
    await promise;
  }
}

/** Repeats `step`, which takes far less than a slice, until it says that there is no more. Rejects with what it throws. */
export async function runInSlices(lane: SlowLane, step: () => "more" | "done"): Promise<void> {
  const slice = () => {
    const endMs = performance.now() + sliceMs;
    for (;;) {
      if (step() === "done") return "done";
      if (performance.now() >= endMs) return "more";
    }
  };
  while (await lane.run(slice) === "more");
}

/** Hashes in slices what would take longer than one. */
export async function hashInSlices(lane: SlowLane, hash: Hash, bytes: Uint8Array): Promise<Hash> {
  let at = 0;
  await runInSlices(lane, () => {
    hash.update(bytes.subarray(at, at += hashedBytes));
    return at < bytes.length ? "more" : "done";
  });
  return hash;
}

/** At once, or in slices. */
export function sha256Hex(bytes: Uint8Array, lane: SlowLane): string | Promise<string> {
  const hash = createHash("sha256");
  if (bytes.length <= hashedBytes) return hash.update(bytes).digest("hex");
  return hashInSlices(lane, hash, bytes).then((whole) => whole.digest("hex"));
}

/** Resolves when everything else that is due has had its turn. */
function nextTurn(): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  setImmediate(resolve);
  return promise;
}

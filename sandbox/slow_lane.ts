/**
 * The slow lane: long work on the event loop, one at a time and in slices.
 *
 * Whoever has more to do than fits between two others' turns does it in here: frames of a cell that sends without
 * end, the check of an output of many megabytes. After each slice everything else has its turn; and where everything
 * else is much, several times as much of it as the slice took. So all that is long takes a part of a busy loop,
 * however many there are, and all of an idle one.
 *
 * @module
 */
import { createHash, type Hash } from "node:crypto";
import { setImmediate } from "node:timers";

/** What a slice should take. */
export const sliceMs = 0.5;
/** Others may take as many times what a slice took, before the next. */
const restsPerSlice = 3;
/** A turn of a loop that has nothing else to do takes less. */
const idleTurnMs = 0.1;
/** Hashed between two looks at the clock. */
const hashedBytes = 131_072;

export class SlowLane {
  readonly #waiting: (() => void)[] = [];
  #isTaken = false;

  /** `nowMs` never goes back. */
  constructor(private readonly nowMs: () => number = () => performance.now()) {}

  /** Resolves when it is the caller's turn; to be paired with a call of what it resolves to, soon after. */
  async enter(): Promise<() => void> {
    if (this.#isTaken) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#waiting.push(resolve);
      await promise;
    }
    this.#isTaken = true;
    const startedMs = this.nowMs();
    return () => void this.#rest(this.nowMs() - startedMs);
  }

  async #rest(workedMs: number): Promise<void> {
    for (let othersMs = 0; othersMs < restsPerSlice * workedMs;) {
      const startedMs = this.nowMs();
      await nextTurn();
      const turnMs = this.nowMs() - startedMs;
      if (turnMs < idleTurnMs) break;
      othersMs += turnMs;
    }
    const next = this.#waiting.shift();
    if (next === undefined) this.#isTaken = false;
    else next();
  }
}

/** Hashes in slices what would take longer than one. */
export async function hashInSlices(lane: SlowLane, hash: Hash, bytes: Uint8Array): Promise<Hash> {
  for (let at = 0; at < bytes.length;) {
    const leave = await lane.enter();
    const endMs = performance.now() + sliceMs;
    do hash.update(bytes.subarray(at, at += hashedBytes)); while (
      at < bytes.length && performance.now() < endMs
    );
    leave();
  }
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

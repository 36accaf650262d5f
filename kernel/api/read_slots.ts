/**
 * Read slots bound what is read for callers at once: reading has no ledger entry that would slow it down, and a
 * caller who asks for much at a time would have the memory and the turns of everybody.
 *
 * A slot is held from the request until its answer is out of our hands: a small one when it was made, a large one
 * when its reader has taken the last of it. Whoever asks for more at a time than has slots waits in line.
 *
 * Invariants:
 * - one caller has `perCallerMax` under way at most, all callers together `max`;
 * - as many again may wait as `waitingMax` says, `waitMs` at most; others are answered QUEUE_FULL at once;
 * - a reader who takes nothing for {@linkcode takeTimeoutMs} loses the rest of a large answer, and its slot.
 *
 * @module
 */
import type { MiddlewareHandler } from "hono";
import { ProblemError } from "../../schemas/problem.ts";
import { Turnstile } from "../router/turnstile.ts";
import type { ApiEnv } from "./context.ts";
import { createPacedBody } from "./paced_body.ts";

export interface ReadSlotsLimits {
  /** What cannot be done without a slot: "read the ledger". */
  readonly action: string;
  readonly perCallerMax: number;
  readonly max: number;
  /** Of one caller, and of all together. */
  readonly waitingMax: number;
  readonly waitMs: number;
  readonly retryAfterMs: number;
}

export const takeTimeoutMs = 30_000;

/** Of an answer that is handed over at once, and of what is handed over at a time of a larger one. */
const chunkBytesMax = 65_536;

export class ReadSlots {
  readonly #callers = new Map<string, Turnstile>();
  readonly #all: Turnstile;

  constructor(private readonly limits: ReadSlotsLimits) {
    this.#all = new Turnstile(limits.max, limits.waitingMax);
  }

  /**
   * Resolves to what gives the slot back, once. Callers whom nobody knows, `undefined`, share what there is for
   * all. Rejects with QUEUE_FULL.
   */
  async take(caller: string | undefined, signal: AbortSignal): Promise<() => void> {
    const own = caller === undefined ? undefined : this.#of(caller);
    const leaveOwn = () => {
      own?.leave();
      if (own?.insideCount === 0) this.#callers.delete(caller ?? "");
    };
    if (own !== undefined && !await own.enter(signal, this.limits.waitMs)) {
      throw this.#full(`${own.insideCount} requests of yours are under way and ${own.waitingCount} wait`);
    }
    if (!await this.#all.enter(signal, this.limits.waitMs)) {
      leaveOwn();
      throw this.#full(`${this.#all.insideCount} requests are under way and ${this.#all.waitingCount} wait`);
    }
    let release = () => {
      this.#all.leave();
      leaveOwn();
    };
    return () => {
      release();
      release = () => {};
    };
  }

  #of(caller: string): Turnstile {
    let own = this.#callers.get(caller);
    if (own === undefined) {
      const { perCallerMax, waitingMax } = this.limits;
      this.#callers.set(caller, own = new Turnstile(perCallerMax, waitingMax));
    }
    return own;
  }

  #full(state: string): ProblemError {
    const { action, retryAfterMs } = this.limits;
    return new ProblemError("QUEUE_FULL", `Cannot ${action}: ${state}`, { retryAfterMs });
  }
}

/** Answers a request while it holds a slot; stands behind what finds out who the caller is. */
export function holdSlot(slots: ReadSlots): MiddlewareHandler<ApiEnv> {
  return async (c, next) => {
    const release = await slots.take(c.get("caller")?.actor, c.req.raw.signal);
    let isPaced = false;
    try {
      await next();
      if (c.req.method === "HEAD" || c.res.body === null) return;
      const bytes = await c.res.bytes();
      isPaced = bytes.length > chunkBytesMax;
      const body = isPaced ? createPacedBody(chunksOf(bytes), { takeTimeoutMs, ended: release }) : bytes;
      c.res = new Response(body, c.res);
      // It is known, and a stream would be sent without.
      c.res.headers.set("content-length", String(bytes.length));
    } finally {
      if (!isPaced) release();
    }
  };
}

async function* chunksOf(bytes: Uint8Array<ArrayBuffer>): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  for (let at = 0; at < bytes.length; at += chunkBytesMax) yield bytes.subarray(at, at + chunkBytesMax);
}

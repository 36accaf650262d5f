/**
 * Read slots bound what is read for callers at once: reading has no ledger entry that would slow it down, and a
 * caller who asks for much at a time would have the memory and the turns of everybody.
 *
 * A slot is held from the request until its answer is out of our hands: a small one when it was made, a large one
 * when its reader has taken the last of it. Who asks for one thing after the other never meets the limit.
 *
 * Invariants:
 * - one caller has `perCallerMax` under way at most, all callers together `max`; others are answered QUEUE_FULL at
 *   once, none of them waits;
 * - a reader who takes nothing for {@linkcode takeTimeoutMs} loses the rest of a large answer, and its slot.
 *
 * @module
 */
import type { MiddlewareHandler } from "hono";
import { ProblemError } from "../../schemas/problem.ts";
import type { ApiEnv } from "./context.ts";
import { createPacedBody } from "./paced_body.ts";

export interface ReadSlotsLimits {
  /** What cannot be done without a slot: "read the ledger". */
  readonly action: string;
  readonly perCallerMax: number;
  readonly max: number;
  readonly retryAfterMs: number;
}

export const takeTimeoutMs = 30_000;

/** Of an answer that is handed over at once, and of what is handed over at a time of a larger one. */
const chunkBytesMax = 65_536;

export class ReadSlots {
  readonly #byCaller = new Map<string, number>();
  #taken = 0;

  constructor(private readonly limits: ReadSlotsLimits) {}

  /**
   * Returns what gives the slot back, once. Callers whom nobody knows, `undefined`, share what there is for all.
   * Throws QUEUE_FULL.
   */
  take(caller: string | undefined): () => void {
    const { action, perCallerMax, max, retryAfterMs } = this.limits;
    const own = caller === undefined ? 0 : this.#byCaller.get(caller) ?? 0;
    if (own >= perCallerMax || this.#taken >= max) {
      const state = own >= perCallerMax
        ? `${own} requests of yours are under way`
        : `${this.#taken} requests are under way`;
      throw new ProblemError("QUEUE_FULL", `Cannot ${action}: ${state}`, { retryAfterMs });
    }
    this.#add(caller, 1);
    let release = () => this.#add(caller, -1);
    return () => {
      release();
      release = () => {};
    };
  }

  #add(caller: string | undefined, count: number): void {
    this.#taken += count;
    if (caller === undefined) return;
    const own = (this.#byCaller.get(caller) ?? 0) + count;
    if (own > 0) this.#byCaller.set(caller, own);
    else this.#byCaller.delete(caller);
  }
}

/** Answers a request while it holds a slot; stands behind what finds out who the caller is. */
export function holdSlot(slots: ReadSlots): MiddlewareHandler<ApiEnv> {
  return async (c, next) => {
    const release = slots.take(c.get("caller")?.actor);
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

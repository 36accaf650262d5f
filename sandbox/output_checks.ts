/**
 * The large outputs of one cell that came in time and are being checked, in the slow lane.
 *
 * The cell has no more to do with them: what becomes of it, and of the deadlines of its calls, changes nothing.
 *
 * @module
 */
import { isLargeJson } from "./large_json.ts";
import { SlowLane } from "./slow_lane.ts";

export class OutputChecks {
  /** Of their calls. */
  readonly #ids = new Set<number>();

  constructor(private readonly lane: SlowLane = new SlowLane()) {}

  get count(): number {
    return this.#ids.size;
  }

  has(id: number): boolean {
    return this.#ids.has(id);
  }

  /** Whether it is one JSON value. Rejects when `signal` aborts before that is known. */
  async run(id: number, output: Uint8Array, signal: AbortSignal): Promise<boolean> {
    this.#ids.add(id);
    try {
      return await isLargeJson(output, this.lane, signal);
    } finally {
      this.#ids.delete(id);
    }
  }
}

/**
 * Lanes: for each action that has jobs waiting for their turn or running, how many there are and who is first.
 *
 * The first in line is read from the table when it is needed and kept until it may be another, so a claim costs the
 * same whatever waits behind it. Lanes that are empty are forgotten. Pure of I/O but for `headOf`.
 *
 * @module
 */
import type { Head, LaneCount } from "../store/jobs_table.ts";

/** Of an action; of the pipelines, where both are null. */
export interface LaneName {
  readonly plugin: string | null;
  readonly action: string | null;
}

export interface Lane extends LaneName {
  waiting: number;
  running: number;
  /** `undefined`: not known. */
  head: Head | undefined;
  /** Its plugin takes no calls before this, by the clock that only runs forward. */
  heldUntilMs: number;
}

export class Lanes {
  readonly #lanes = new Map<string, Lane>();
  readonly #runningOfPlugin = new Map<string, number>();
  readonly #runningOfKey = new Map<string, number>();
  #running = 0;

  constructor(private readonly headOf: (lane: LaneName) => Head | undefined, counts: readonly LaneCount[]) {
    for (const count of counts) this.#lane(count).waiting = count.count;
  }

  /** Jobs that run, without pipelines, which need no cell. */
  get running(): number {
    return this.#running;
  }

  all(): Iterable<Lane> {
    return this.#lanes.values();
  }

  runningOf(plugin: string): number {
    return this.#runningOfPlugin.get(plugin) ?? 0;
  }

  runningOfKey(lane: LaneName, key: string): number {
    return this.#runningOfKey.get(keyName(lane, key)) ?? 0;
  }

  /** A job waits for its turn now. */
  entered(name: LaneName, job: Head): void {
    const lane = this.#lane(name);
    const isFirst = lane.waiting === 0 || (lane.head !== undefined && comesBefore(job, lane.head));
    if (isFirst) lane.head = job;
    lane.waiting++;
  }

  /** A job does not wait for its turn any more. */
  left(name: LaneName): void {
    const lane = this.#lane(name);
    lane.waiting--;
    lane.head = undefined;
    this.#forgetIfEmpty(lane);
  }

  began(name: LaneName, key: string | null): void {
    this.#lane(name).running++;
    if (name.plugin !== null) {
      this.#running++;
      add(this.#runningOfPlugin, name.plugin, 1);
    }
    if (key !== null) add(this.#runningOfKey, keyName(name, key), 1);
  }

  ended(name: LaneName, key: string | null): void {
    const lane = this.#lane(name);
    lane.running--;
    if (name.plugin !== null) {
      this.#running--;
      add(this.#runningOfPlugin, name.plugin, -1);
    }
    if (key !== null) add(this.#runningOfKey, keyName(name, key), -1);
    this.#forgetIfEmpty(lane);
  }

  /** The first in line. */
  head(lane: Lane): Head | undefined {
    if (lane.waiting === 0) return undefined;
    lane.head ??= this.headOf(lane);
    return lane.head;
  }

  /** No job of the lane is claimed before this. */
  hold(name: LaneName, untilMs: number): void {
    this.#lane(name).heldUntilMs = untilMs;
  }

  /** The plugin may take calls again. */
  unhold(plugin: string): void {
    for (const lane of this.#lanes.values()) {
      if (lane.plugin === plugin) lane.heldUntilMs = 0;
    }
  }

  #lane({ plugin, action }: LaneName): Lane {
    const name = `${plugin ?? ""}/${action ?? ""}`;
    let lane = this.#lanes.get(name);
    if (lane === undefined) {
      lane = { plugin, action, waiting: 0, running: 0, head: undefined, heldUntilMs: 0 };
      this.#lanes.set(name, lane);
    }
    return lane;
  }

  #forgetIfEmpty(lane: Lane): void {
    if (lane.waiting > 0 || lane.running > 0) return;
    this.#lanes.delete(`${lane.plugin ?? ""}/${lane.action ?? ""}`);
  }
}

/** Whether `a` is claimed before `b`. */
export function comesBefore(a: Head, b: Head): boolean {
  return a.priority === b.priority ? a.seq < b.seq : a.priority > b.priority;
}

function keyName({ plugin, action }: LaneName, key: string): string {
  return `${plugin ?? ""}/${action ?? ""}/${key}`;
}

function add(counts: Map<string, number>, name: string, change: 1 | -1): void {
  const count = (counts.get(name) ?? 0) + change;
  if (count > 0) counts.set(name, count);
  else counts.delete(name);
}

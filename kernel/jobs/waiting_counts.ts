/**
 * Waiting counts: how many jobs are pending, and how many of whom.
 *
 * Made of the table at the start and kept in step by `queue.ts`, since to count a million rows reads the file. Who has
 * none is forgotten, so it holds no more names than there are callers with work. Pure.
 *
 * @module
 */

export interface ActorCount {
  readonly actor: string;
  readonly count: number;
}

export class WaitingCounts {
  readonly #ofActor = new Map<string, number>();
  #all = 0;

  constructor(counts: readonly ActorCount[] = []) {
    for (const { actor, count } of counts) this.#add(actor, count);
  }

  get all(): number {
    return this.#all;
  }

  of(actor: string): number {
    return this.#ofActor.get(actor) ?? 0;
  }

  /** A job of the actor waits. */
  entered(actor: string): void {
    this.#add(actor, 1);
  }

  /** One waits no more. Throws RangeError where none did. */
  left(actor: string): void {
    this.#add(actor, -1);
  }

  #add(actor: string, change: number): void {
    const count = this.of(actor) + change;
    if (count < 0) throw new RangeError(`Cannot count the jobs of "${actor}": fewer than none`);
    this.#all += change;
    if (count > 0) this.#ofActor.set(actor, count);
    else this.#ofActor.delete(actor);
  }
}

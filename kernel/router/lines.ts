/**
 * The lines of callers before each plugin's actions.
 *
 * An action's manifest says how many of its calls may be under way at once; the others stand in line, so many
 * of them and for so long. Pure of I/O.
 *
 * @module
 */
import type { Manifest } from "../../schemas/manifest.ts";
import { Turnstile } from "./turnstile.ts";

export class Lines {
  /** The lines of each plugin's actions, for the package that it has now. */
  readonly #plugins = new Map<string, { digest: string; turnstiles: Map<string, Turnstile> }>();

  /** `waitingMax`: calls that may wait, for each action. */
  constructor(private readonly waitingMax: number) {}

  /** The line of an action. `per-call` plugins have one line for all, because each call needs the cell alone. */
  of(call: { plugin: string; action: string }, { actions, reuse }: Manifest, digest: string): Turnstile {
    const { plugin, action } = call;
    let lines = this.#plugins.get(plugin);
    // Another package may have other limits; who is in the old lines still leaves them in order.
    if (lines?.digest !== digest) this.#plugins.set(plugin, lines = { digest, turnstiles: new Map() });
    const isAlone = reuse === "per-call";
    const key = isAlone ? "" : action;
    let turnstile = lines.turnstiles.get(key);
    if (turnstile === undefined) {
      turnstile = new Turnstile(isAlone ? 1 : actions[action]?.concurrency ?? 1, this.waitingMax);
      lines.turnstiles.set(key, turnstile);
    }
    return turnstile;
  }
}

/**
 * Rows of the escape corpus: an attack, who makes it, and what must come of it in each tier.
 *
 * An attack is a function that runs inside a plugin. Its text is what is carried there, so it closes over
 * nothing: it has its two parameters, its cell's globals, and what it imports itself. What it returns or
 * throws is its outcome, in words: `gives "text"`, `throws NotCapable`, or `fails LIMIT_WALL` where the call
 * itself failed. Whether it was an escape is never its word: that is seen from outside (`world.ts`).
 *
 * A tier that does not hold a row says so in the row, with the reason, and the test asserts that it is
 * exactly what happens.
 *
 * @module
 */
import type { Isolation, OperatorGrants } from "../../schemas/capabilities.ts";
import type { AdvisoryId } from "./advisories.ts";
import type { Attacker } from "./attackers.ts";
import type { Aim, Tools } from "./guest/attacker.ts";
import type { Outside, World } from "./world.ts";

export const rowClasses = [
  "imports and module graph",
  "symlinks and path tricks",
  "/proc and /dev",
  "node compatibility",
  "addresses",
  "env",
  "run allow-lists",
  "raw descriptors",
  "signals and self-kill",
  "nested Workers",
  "side channels",
  "exhaustion",
  "protocol abuse",
  "prototype pollution",
  "forged results",
] as const;
export type RowClass = (typeof rowClasses)[number];

/** What an escape looks like from outside. */
export const breachKinds = [
  "told", // a secret stands in the answer
  "touched", // a file outside is not as it was
  "planted", // a file is where nothing of the plugin's may be
  "reached", // a listener that was not granted was connected to
  "killed", // the warden, the kernel or the neighbour is not what it was
  "channel", // the neighbour found what the attacker left for it
] as const;
export type Breach = (typeof breachKinds)[number];

/** The outcome, or several of which each is as good. */
export type Outcome = string | readonly string[];

export interface NotHeld {
  readonly held: false;
  readonly outcome: Outcome;
  readonly because: string;
  readonly breaches: readonly Breach[];
}

export type Expected = Outcome | NotHeld;
/** A tier that is left out is one in which the row says nothing. */
export type ByTier = { readonly [tier in Isolation]?: Expected };

/** What was seen when a row was run. */
export interface Seen {
  readonly outcome: string;
  readonly breaches: readonly Breach[];
}

/** Runs inside a plugin. */
export type Attack = (aim: Aim, tools: Tools) => unknown;

interface Common {
  /** What is attempted. Unique. */
  readonly name: string;
  readonly expected: Expected | ByTier;
  /** Public advisories of Deno that this tries. */
  readonly advisories?: readonly AdvisoryId[];
  /** What the answer must say beside its outcome, for example why a package was rejected. */
  readonly says?: RegExp;
  /** Looks from outside, after the attack; gives what is wrong. */
  verify?(world: World): Promise<string | undefined> | string | undefined;
}

export interface AttackRow extends Common {
  readonly by: Attacker;
  readonly attack: Attack;
  /** Runs in the neighbour meanwhile; what it gives is searched for the attacker's mark. */
  readonly neighbour?: Attack;
  /**
   * First the neighbour's part runs in the attacker's own plugin, where the mark must be found: that it is not
   * found next door then says something.
   */
  readonly worksWithin?: true;
  /** The attack is told the number of the descriptor that is its cell's control socket. */
  readonly needsControlSocket?: true;
  /** What the operator grants the attacker before the attack, and takes back after it. */
  grants?(aim: Aim): OperatorGrants;
  /** What somebody outside does before the attack; gives what undoes it. */
  prepare?(world: World): Promise<() => Promise<void>>;
  /** What somebody outside does between the grant and the attack. */
  afterGrants?(world: World): Promise<void>;
  /** Called with a deadline of 300 ms: the attack never ends. */
  readonly endless?: true;
  /** The cell is not to be used by other rows. */
  readonly spoils?: true;
  /** Calls an action of this name in place of the attack. */
  readonly action?: string;
}

/** A package that attacks by what it is. It is installed beside the others; its action `run` is called. */
export interface PackageRow extends Common {
  /** File name → text. */
  files(id: string, outside: Outside): Record<string, string>;
  /** Done to its folder after the files were written. */
  tamper?(folder: string, outside: Outside): Promise<void>;
}

export type Row = (AttackRow | PackageRow) & { readonly class: RowClass };

export function isPackageRow(row: Row): row is PackageRow & { readonly class: RowClass } {
  return "files" in row;
}

export function rowsOf(name: RowClass, rows: readonly (AttackRow | PackageRow)[]): Row[] {
  return rows.map((row) => ({ ...row, class: name }));
}

/** A tier in which an attack succeeds, in part at least; `breaches` is what is then seen from outside. */
export function notHeld(outcome: Outcome, because: string, ...breaches: Breach[]): NotHeld {
  return { held: false, outcome, because, breaches };
}

/** What `row` expects in `tier`; undefined if it says nothing of it. */
export function expectedIn(row: Row, tier: Isolation): Expected | undefined {
  const { expected } = row;
  if (typeof expected === "string" || isList(expected) || "held" in expected) return expected;
  return expected[tier];
}

export function isNotHeld(expected: Expected): expected is NotHeld {
  return typeof expected === "object" && "held" in expected;
}

export function outcomesOf(expected: Expected): readonly string[] {
  const outcome = isNotHeld(expected) ? expected.outcome : expected;
  return isList(outcome) ? outcome : [outcome];
}

function isList(value: unknown): value is readonly string[] {
  return Array.isArray(value);
}

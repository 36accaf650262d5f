/**
 * The faults of a value that does not fit its schema, as they are told to who sent it.
 *
 * Invariants:
 * - a fault's path is that of the very value, within unions and for keys that nobody knows too;
 * - there are at most so many of them as the caller wants, and no long key is repeated: the sender chose both.
 *
 * Pure.
 *
 * @module
 */
import type { z } from "zod";
import { explainIssue, likeliestBranch } from "../../schemas/explain_issue.ts";
import { nearestName } from "../../schemas/nearest_name.ts";
import { jsonPointer } from "../../schemas/parse_document.ts";
import { type Fault, ProblemError } from "../../schemas/problem.ts";

export type Path = readonly PropertyKey[];

/** No more faults of a request are told. */
export const faultsMax = 100;

const keyCharsShown = 64;

/** A key as it may be repeated to who chose it. */
export function shownKey(key: PropertyKey): PropertyKey {
  return typeof key === "string" && key.length > keyCharsShown ? `${key.slice(0, keyCharsShown)}…` : key;
}

export interface FaultsOptions {
  readonly faultsMax: number;
  /** The keys that an object at a path may have, for hints. */
  names(path: Path): string[];
}

/** The first of them, a misspelt key before the right one that is missing: it says more. */
export function faultsOf({ issues }: z.core.$ZodError, { faultsMax, names }: FaultsOptions): Fault[] {
  return [...hintsFirst(issues).values().flatMap((issue) => faultsOfIssue(issue, names)).take(faultsMax)];
}

/** INPUT_INVALID, for a request with these faults. */
export function inputInvalid(errors: Fault[]): ProblemError {
  const [{ path, message } = { path: "", message: "it does not fit" }] = errors;
  const where = path === "" ? "" : `${path} `;
  return new ProblemError("INPUT_INVALID", `Cannot read the request: ${where}${message}`, { errors });
}

function hintsFirst(issues: readonly z.core.$ZodIssue[]): z.core.$ZodIssue[] {
  const rank = ({ code }: z.core.$ZodIssue) => code === "unrecognized_keys" ? 0 : 1;
  return issues.toSorted((a, b) => rank(a) - rank(b));
}

/** Lazily: there may be a great many, and each costs a look-up. */
function* faultsOfIssue(issue: z.core.$ZodIssue, names: (path: Path) => string[]): Generator<Fault> {
  const { path } = issue;
  // A schema's own message wins, see `explain_issue.ts`.
  if (issue.code === "unrecognized_keys" && !issue.message.startsWith("must ")) {
    const known = names(path);
    for (const key of issue.keys) yield unknownKey(path, key, known);
    return;
  }
  const branch = issue.code === "invalid_union" ? likeliestBranch(issue.errors) : undefined;
  if (branch === undefined) {
    yield { path: jsonPointer(path), message: explainIssue(issue) };
    return;
  }
  for (const inner of hintsFirst(branch)) {
    yield* faultsOfIssue({ ...inner, path: [...path, ...inner.path] }, names);
  }
}

function unknownKey(path: Path, key: string, known: string[]): Fault {
  const nearest = nearestName(key, known);
  const hint = nearest !== undefined
    ? `: ${JSON.stringify(nearest)} may be meant`
    : known.length > 0
    ? `: known are ${known.join(", ")}`
    : "";
  return { path: jsonPointer([...path, shownKey(key)]), message: `must not be here${hint}` };
}

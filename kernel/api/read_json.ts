/**
 * A body that is read into a value: what an attacker may make it cost, and where it does not fit its schema.
 *
 * Bodies of jobs carry data of any shape, so that a small text could make a great many values, a nesting deeper
 * than any stack, or a million faults. The text is measured before anything is made of it, and the value before
 * the schema sees it.
 *
 * Invariants:
 * - a number too large for a double is refused: it would silently become `null` on its way to the plugin;
 * - a fault's path is that of the very value, within unions and for keys that nobody knows too.
 *
 * @module
 */
import type { z } from "zod";
import { explainIssue, knownKeysAt } from "../../schemas/explain_issue.ts";
import { nearestName } from "../../schemas/nearest_name.ts";
import { jsonPointer } from "../../schemas/parse_document.ts";
import { type Fault, ProblemError } from "../../schemas/problem.ts";
import { type BodyLimits, parseJsonBytes, readBody } from "./json_body.ts";

/** Levels of arrays and objects in each other. */
export const nestingMax = 256;
/** Values in one body, those in its inputs included. */
export const valuesMax = 1_000_000;
/** Values outside of what is passed on as it is: 1,000 jobs with all they may say. */
const checkedValuesMax = 200_000;
/** Members that a schema takes whatever they are. */
const passedOn: ReadonlySet<PropertyKey> = new Set(["input", "map"]);
const faultsMax = 100;
const keyCharsShown = 64;

type Path = readonly PropertyKey[];

/**
 * The value in a request's body. Throws what `readBody` does, MALFORMED_JSON, and INPUT_INVALID for a value that is
 * too large. No body is `whenEmpty`, and MALFORMED_JSON without that.
 */
export async function readJson(
  request: Request,
  limits: BodyLimits,
  { whenEmpty }: { whenEmpty?: unknown } = {},
): Promise<unknown> {
  const bytes = await readBody(request, limits);
  if (bytes.length === 0) {
    if (whenEmpty !== undefined) return whenEmpty;
    throw new ProblemError("MALFORMED_JSON", "Cannot parse the body as JSON: it is empty");
  }
  checkExtent(bytes);
  const value = parseJsonBytes(bytes);
  checkValue(value, [], { checked: 0 });
  return value;
}

/**
 * `value` as `schema` has it. Throws INPUT_INVALID with its faults. `names`: the keys that an object at a path may
 * have, for hints.
 */
export function parseValue<S extends z.ZodType>(
  schema: S,
  value: unknown,
  names: (path: Path) => string[] = (path) => knownKeysAt(schema, path),
): z.output<S> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const faults = hintsFirst(result.error.issues).values().flatMap((issue) => faultsOf(issue, names));
  throw inputInvalid([...faults.take(faultsMax)]);
}

/** A key that is misspelt says more than that the right one is missing. */
function hintsFirst(issues: readonly z.core.$ZodIssue[]): z.core.$ZodIssue[] {
  const rank = ({ code }: z.core.$ZodIssue) => code === "unrecognized_keys" ? 0 : 1;
  return issues.toSorted((a, b) => rank(a) - rank(b));
}

function inputInvalid(errors: Fault[]): ProblemError {
  const [{ path, message } = { path: "", message: "it does not fit" }] = errors;
  const where = path === "" ? "" : `${path} `;
  return new ProblemError("INPUT_INVALID", `Cannot read the request: ${where}${message}`, { errors });
}

const quote = 0x22;
const backslash = 0x5c;
const comma = 0x2c;
const [openArray, closeArray, openObject, closeObject] = [0x5b, 0x5d, 0x7b, 0x7d];

/** Says nothing of what is not JSON: the parser does. */
function checkExtent(bytes: Uint8Array): void {
  let [depth, values, inString] = [0, 1, false];
  for (let at = 0; at < bytes.length; at += 1) {
    const byte = bytes[at];
    if (inString) {
      if (byte === backslash) at += 1;
      else if (byte === quote) inString = false;
    } else if (byte === quote) {
      inString = true;
    } else if (byte === openArray || byte === openObject) {
      depth += 1;
      values += 1;
      if (depth > nestingMax) throw tooLarge(`must not be nested deeper than ${nestingMax} levels`);
    } else if (byte === closeArray || byte === closeObject) {
      depth -= 1;
    } else if (byte === comma) {
      values += 1;
    }
    if (values > valuesMax) throw tooLarge(`must not have more than ${valuesMax} values`);
  }
}

function tooLarge(message: string): ProblemError {
  return inputInvalid([{ path: "", message }]);
}

/** Recursive: the nesting is bound already. */
function checkValue(
  value: unknown,
  path: PropertyKey[],
  counted: { checked: number },
  isPassedOn = false,
): void {
  if (!isPassedOn && (counted.checked += 1) > checkedValuesMax) {
    throw tooLarge(`must not have more than ${checkedValuesMax} values beside its inputs`);
  }
  if (typeof value === "number" && !Number.isFinite(value)) {
    throw inputInvalid([{ path: jsonPointer(path), message: "must be a number that a double can hold" }]);
  }
  if (typeof value !== "object" || value === null) return;
  const isArray = Array.isArray(value);
  for (const [key, child] of isArray ? value.entries() : Object.entries(value)) {
    path.push(key);
    checkValue(child, path, counted, isPassedOn || (!isArray && passedOn.has(key)));
    path.pop();
  }
}

/** Lazily: there may be a great many, and each costs a look-up. */
function* faultsOf(issue: z.core.$ZodIssue, names: (path: Path) => string[]): Generator<Fault> {
  const { path } = issue;
  if (issue.code === "unrecognized_keys") {
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
    yield* faultsOf({ ...inner, path: [...path, ...inner.path] }, names);
  }
}

function unknownKey(path: Path, key: string, known: string[]): Fault {
  const nearest = nearestName(key, known);
  const shown = key.length > keyCharsShown ? `${key.slice(0, keyCharsShown)}…` : key;
  const hint = nearest !== undefined
    ? `: ${JSON.stringify(nearest)} may be meant`
    : known.length > 0
    ? `: known are ${known.join(", ")}`
    : "";
  return { path: jsonPointer([...path, shown]), message: `must not be here${hint}` };
}

/**
 * The branch of a union that was most likely meant: the one that knows most of the keys, and of those the one that
 * fits deepest. Undefined if the value is none of their types: then all are named.
 */
function likeliestBranch(branches: z.core.$ZodIssue[][]): z.core.$ZodIssue[] | undefined {
  const unknownKeys = (issues: z.core.$ZodIssue[]) =>
    issues.reduce((sum, issue) => {
      const isOwn = issue.code === "unrecognized_keys" && issue.path.length === 0;
      return isOwn ? sum + issue.keys.length : sum;
    }, 0);
  const depth = (issues: z.core.$ZodIssue[]) =>
    issues.reduce((deepest, { path }) => Math.max(deepest, path.length), 0);
  const [best] = branches
    .filter((issues) => issues.length > 0 && !issues.some(rejectsWholeValue))
    .sort((a, b) => unknownKeys(a) - unknownKeys(b) || depth(b) - depth(a));
  return best;
}

function rejectsWholeValue(issue: z.core.$ZodIssue): boolean {
  if (issue.path.length > 0) return false;
  if (issue.code === "invalid_union") return likeliestBranch(issue.errors) === undefined;
  return issue.code === "invalid_type" || issue.code === "invalid_value";
}

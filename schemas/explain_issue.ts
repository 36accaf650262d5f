/**
 * Explanations: what a zod issue means, in plain words.
 *
 * Every explanation says what was expected ("must be a whole number"), so that it reads well after the
 * path of the value. A schema's own message wins if it is written in that form. Pure.
 *
 * @module
 */
import { z } from "zod";

/** Explains one issue. */
export function explainIssue(issue: z.core.$ZodIssue): string {
  // Our schemas' own messages begin like this, zod's never do.
  if (issue.message.startsWith("must ")) return issue.message;
  switch (issue.code) {
    case "invalid_type":
      return `must be ${typeName(issue.expected)}`;
    case "invalid_value":
      return oneOf(issue.values.map((value) => JSON.stringify(value)));
    case "too_small":
      return explainTooSmall(issue);
    case "too_big":
      return explainTooBig(issue);
    case "invalid_format":
      return formatNames.has(issue.format)
        ? `must be ${formatNames.get(issue.format)}`
        : `must be in the format "${issue.format}"`;
    case "not_multiple_of":
      return `must be a multiple of ${issue.divisor}`;
    case "invalid_union":
      return explainUnion(issue);
    case "unrecognized_keys":
      return `must not have the keys ${issue.keys.map((key) => JSON.stringify(key)).join(", ")}`;
    default:
      return issue.message;
  }
}

/**
 * The branch of a union that was most likely meant: the one that knows most of the keys, of those the one that fits
 * deepest, and of those the one with the fewest issues. Undefined if the value is none of their types: then all are
 * named.
 */
export function likeliestBranch(branches: z.core.$ZodIssue[][]): z.core.$ZodIssue[] | undefined {
  const [best] = branches
    .filter((issues) => issues.length > 0 && !issues.some(rejectsWholeValue))
    .toSorted((a, b) => unknownKeys(a) - unknownKeys(b) || depth(b) - depth(a) || a.length - b.length);
  return best;
}

function unknownKeys(issues: z.core.$ZodIssue[]): number {
  return issues.reduce((sum, issue) => {
    const isOwn = issue.code === "unrecognized_keys" && issue.path.length === 0;
    return isOwn ? sum + issue.keys.length : sum;
  }, 0);
}

function depth(issues: z.core.$ZodIssue[]): number {
  return issues.reduce((deepest, { path }) => Math.max(deepest, path.length), 0);
}

function rejectsWholeValue(issue: z.core.$ZodIssue): boolean {
  if (issue.path.length > 0) return false;
  if (issue.code === "invalid_union") return likeliestBranch(issue.errors) === undefined;
  return issue.code === "invalid_type" || issue.code === "invalid_value";
}

/** The keys that the objects at `path` of a schema know; none if it takes any key. */
export function knownKeysAt(schema: z.core.$ZodType, path: readonly PropertyKey[]): string[] {
  let level = [schema];
  for (const segment of path) level = level.flatMap((candidate) => childrenOf(candidate, segment));
  return level.flatMap(unwrapped).flatMap((candidate) =>
    candidate instanceof z.ZodObject ? Object.keys(candidate.shape) : []
  );
}

function childrenOf(schema: z.core.$ZodType, segment: PropertyKey): z.core.$ZodType[] {
  return unwrapped(schema).flatMap((candidate): z.core.$ZodType[] => {
    if (candidate instanceof z.ZodObject) {
      const child = Object.hasOwn(candidate.shape, segment) ? candidate.shape[String(segment)] : undefined;
      return child === undefined ? [] : [child];
    }
    if (candidate instanceof z.ZodRecord) return [candidate.valueType];
    if (candidate instanceof z.ZodArray) return [candidate.element];
    return [];
  });
}

/** What stands inside optional, default and union. */
function unwrapped(schema: z.core.$ZodType): z.core.$ZodType[] {
  if (schema instanceof z.ZodUnion) return schema.options.flatMap(unwrapped);
  if (
    schema instanceof z.ZodOptional || schema instanceof z.ZodNullable ||
    schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault
  ) return unwrapped(schema.unwrap());
  return [schema];
}

const typeNames = new Map([
  ["string", "a string"],
  ["number", "a number"],
  ["int", "a whole number"],
  ["boolean", "true or false"],
  ["array", "an array"],
  ["object", "an object"],
  ["record", "an object"],
  ["null", "null"],
]);

function typeName(expected: string): string {
  return typeNames.get(expected) ?? expected;
}

const formatNames = new Map([
  ["url", "a URL such as https://example.com/"],
  ["datetime", "a time such as 2026-11-20T10:00:00Z"],
  ["base64", "base64"],
]);

function explainTooSmall({ origin, minimum, inclusive }: z.core.$ZodIssueTooSmall): string {
  if (origin === "string") {
    return Number(minimum) === 1 ? "must not be empty" : `must have at least ${minimum} characters`;
  }
  if (origin === "array") return `must have at least ${counted(minimum, "item")}`;
  return inclusive === false ? `must be more than ${minimum}` : `must be at least ${minimum}`;
}

function explainTooBig({ origin, maximum, inclusive }: z.core.$ZodIssueTooBig): string {
  if (origin === "string") return `must have at most ${counted(maximum, "character")}`;
  if (origin === "array") return `must have at most ${counted(maximum, "item")}`;
  return inclusive === false ? `must be less than ${maximum}` : `must be at most ${maximum}`;
}

function explainUnion(issue: z.core.$ZodIssueInvalidUnion): string {
  const expectations = issue.errors.flatMap((branch) => branch.slice(0, 1)).map(explainIssue);
  const unique = [...new Set(expectations)].map((expectation) => expectation.replace(/^must be /, ""));
  return unique.length === 0 ? issue.message : `must be ${unique.join(" or ")}`;
}

function oneOf(values: string[]): string {
  return values.length === 1 ? `must be ${values[0]}` : `must be one of ${values.join(", ")}`;
}

function counted(count: number | bigint, noun: string): string {
  return `${count} ${noun}${Number(count) === 1 ? "" : "s"}`;
}

/**
 * Documents: JSONC texts that people write by hand, checked against a schema.
 *
 * Whoever writes a manifest should learn everything that is wrong with it from one run, and where: so
 * each fault carries a JSON Pointer, a line and a column, and a misspelt key names the right one.
 *
 * Invariants:
 * - one mistake is one fault: a misspelt required key is not also reported as missing;
 * - faults come in the order of the text, at most {@linkcode faultsMax} of them.
 *
 * Pure.
 *
 * @module
 */
import type { z } from "zod";
import { explainIssue, knownKeysAt, likeliestBranch } from "./explain_issue.ts";
import { createLocator, type JsoncNode, parseJsoncTree, propertiesOf, valueOf } from "./jsonc_tree.ts";
import { nearestName } from "./nearest_name.ts";
import type { Fault } from "./problem.ts";

export type DocumentResult<T> =
  | {
    ok: true;
    value: T;
    /** A fault that only the caller can find, at the value that `path` names. */
    faultAt(path: readonly PropertyKey[], message: string): Fault;
  }
  | {
    ok: false;
    /** `Cannot read <what>: <the first fault> (line 3), and 2 more`. */
    message: string;
    faults: Fault[];
  };

/** No more faults than this are looked for. */
export const faultsMax = 100;

/** Longer texts are refused unread. */
export const documentLengthMax = 1_048_576;

type Path = PropertyKey[];

interface Finding {
  path: Path;
  message: string;
  offset: number;
  /** The path of the key that is missing here. */
  missing?: string;
  /** The path of the key that was probably meant. */
  meant?: string;
}

/** Parses `text` and checks it against `schema`. `options.what` reads like `manifest "x/plugin.jsonc"`. */
export function parseDocument<S extends z.ZodType>(
  schema: S,
  text: string,
  options: { what: string },
): DocumentResult<z.output<S>> {
  const { what } = options;
  if (text.length > documentLengthMax) {
    return rejected(what, "", [{
      path: [],
      message: `must have at most ${documentLengthMax} characters`,
      offset: 0,
    }]);
  }
  const { root, faults: syntaxFaults, sound } = parseJsoncTree(text);
  const findings: Finding[] = syntaxFaults.map((fault) => ({ path: [], ...fault }));
  if (root === undefined || !sound) return rejected(what, text, findings);

  findings.push(...keyFindings(root, []).take(faultsMax));
  const result = schema.safeParse(valueOf(root));
  if (!result.success) {
    const known = (path: Path) => knownKeysAt(schema, path);
    // Lazily: a hostile text may hold a hundred thousand faults, and each costs a look-up.
    const found = result.error.issues.values().flatMap((issue) => findingsOf(issue, root, known));
    findings.push(...withoutEchoes([...found.take(faultsMax + 1)]));
  }
  if (!result.success || findings.length > 0) return rejected(what, text, findings);
  const locate = createLocator(text);
  return {
    ok: true,
    value: result.data,
    faultAt: (path, message) => ({
      path: jsonPointer(path),
      message,
      ...locate(locationOf(root, path).offset),
    }),
  };
}

/** A JSON Pointer, RFC 6901. */
export function jsonPointer(path: readonly PropertyKey[]): string {
  return path.map((segment) => `/${String(segment).replaceAll("~", "~0").replaceAll("/", "~1")}`).join("");
}

function rejected(what: string, text: string, findings: Finding[]): DocumentResult<never> {
  const locate = createLocator(text);
  const faults: Fault[] = findings
    .sort((a, b) => a.offset - b.offset)
    .slice(0, faultsMax)
    .map(({ path, message, offset }) => ({ path: jsonPointer(path), message, ...locate(offset) }));
  if (findings.length > faultsMax) {
    faults.push({ path: "", message: "There are more faults than these" });
  }
  const [first] = faults;
  const subject = first.path !== "" && first.message.startsWith("must ") ? `${first.path} ` : "";
  const more = faults.length > 1 ? `, and ${faults.length - 1} more` : "";
  const message = `Cannot read ${what}: ${subject}${first.message} (line ${first.line})${more}`;
  return { ok: false, message, faults };
}

/** Keys that are wrong under any schema: doubled ones, and `__proto__`. */
function* keyFindings(node: JsoncNode, path: Path): Generator<Finding> {
  const seen = new Set<string>();
  for (const { key, child } of propertiesOf(node)) {
    const keyPath = [...path, key.value];
    if (seen.has(key.value)) {
      yield { path: keyPath, message: `Key ${quote(key.value)} stands here twice`, offset: key.offset };
    }
    seen.add(key.value);
    if (key.value === "__proto__") {
      yield { path: keyPath, message: 'Key "__proto__" is not allowed', offset: key.offset };
    }
    yield* keyFindings(child, keyPath);
  }
  if (node.type !== "array") return;
  for (const [index, child] of (node.children ?? []).entries()) yield* keyFindings(child, [...path, index]);
}

function* findingsOf(
  issue: z.core.$ZodIssue,
  root: JsoncNode,
  known: (path: Path) => string[],
): Generator<Finding> {
  const { path } = issue;
  if (issue.code === "unrecognized_keys") {
    const names = known(path);
    for (const key of issue.keys) {
      const keyPath = [...path, key];
      const nearest = nearestName(key, names);
      const message = `Unknown key ${quote(key)}` +
        (nearest === undefined ? "" : `: did you mean ${quote(nearest)}?`);
      const meant = nearest === undefined ? undefined : jsonPointer([...path, nearest]);
      yield { path: keyPath, message, offset: locationOf(root, keyPath).keyOffset, meant };
    }
    return;
  }
  if (issue.code === "invalid_union") {
    const branch = likeliestBranch(issue.errors);
    if (branch !== undefined) {
      for (const inner of branch) {
        yield* findingsOf({ ...inner, path: [...path, ...inner.path] }, root, known);
      }
      return;
    }
  }
  const { found, offset, keyOffset } = locationOf(root, path);
  if (issue.code === "invalid_key") {
    const reason = issue.issues.map(explainIssue).join(" and ");
    yield { path, message: `Key ${quote(String(path.at(-1)))} ${reason}`, offset: keyOffset };
  } else if (found) {
    yield { path, message: explainIssue(issue), offset };
  } else {
    const message = `Missing key ${quote(String(path.at(-1)))}: ${explainIssue(issue)}`;
    yield { path, message, offset, missing: jsonPointer(path) };
  }
}

/** Keeps one finding for each value, and none for a missing key that stands there misspelt. */
function withoutEchoes(findings: Finding[]): Finding[] {
  const meant = new Set(findings.map((finding) => finding.meant).filter((path) => path !== undefined));
  const seen = new Set<string>();
  return findings.filter(({ path, missing }) => {
    const pointer = jsonPointer(path);
    if (seen.has(pointer) || (missing !== undefined && meant.has(missing))) return false;
    seen.add(pointer);
    return true;
  });
}

/** Where the value at `path` stands, or, if it is missing, the innermost value around it that is there. */
function locationOf(
  root: JsoncNode,
  path: readonly PropertyKey[],
): { found: boolean; offset: number; keyOffset: number } {
  let node = root;
  let keyOffset = root.offset;
  for (const segment of path) {
    let next: JsoncNode | undefined;
    if (node.type === "array") {
      next = node.children?.[Number(segment)];
      keyOffset = next?.offset ?? keyOffset;
    }
    for (const { key, child } of propertiesOf(node)) {
      if (key.value !== segment) continue;
      next = child; // not the first: the last of two equal keys is the one that was checked
      keyOffset = key.offset;
    }
    if (next === undefined) return { found: false, offset: node.offset, keyOffset: node.offset };
    node = next;
  }
  return { found: true, offset: node.offset, keyOffset };
}

function quote(text: string): string {
  return JSON.stringify(text.length > 64 ? `${text.slice(0, 64)}…` : text);
}

/**
 * Sizes: no file above 400 lines, no function above 70. The list of exemptions only shrinks.
 *
 * @module
 */
import { deepEqual } from "node:assert/strict";
import { lineOf, type SourceFile, sourceFiles, visit } from "./source_files.ts";

const linesMax = { file: 400, function: 70 } as const;

/** What is larger, and by how much. An entry may not grow, and fails the test when it is not needed any more. */
const exemptions: Readonly<Record<string, number>> = {
  "kernel/trust/tokens.ts createTokens": 108,
};

interface Sized {
  /** A path; for a function, followed by its name. */
  readonly place: string;
  readonly lines: number;
}

function largeFunctions(file: SourceFile): Sized[] {
  const large: Sized[] = [];
  const check = (
    node: Deno.lint.FunctionDeclaration | Deno.lint.FunctionExpression | Deno.lint.ArrowFunctionExpression,
  ) => {
    const lines = file.text.slice(...node.range).split("\n").length;
    if (lines > linesMax.function) large.push({ place: `${file.path} ${nameOf(node, file)}`, lines });
  };
  visit(file, { FunctionDeclaration: check, FunctionExpression: check, ArrowFunctionExpression: check });
  return large;
}

/** Of the function itself, or of what holds it: a method, a property, a variable. */
function nameOf(node: Deno.lint.Node, file: SourceFile): string {
  for (const holder of [node, "parent" in node ? node.parent : undefined]) {
    if (holder === undefined) continue;
    if ("id" in holder && holder.id?.type === "Identifier") return holder.id.name;
    // A node has every property of its kind, whether or not the syntax has it.
    if ("key" in holder && holder.key) return file.text.slice(...holder.key.range);
  }
  return `line ${lineOf(file, node.range[0])}`;
}

Deno.test("sizes: files and functions are small, and no exemption is stale", () => {
  const large = sourceFiles().flatMap((file): Sized[] => {
    const lines = file.text.split("\n").length - 1;
    return [...(lines > linesMax.file ? [{ place: file.path, lines }] : []), ...largeFunctions(file)];
  });
  deepEqual(large.filter(({ place, lines }) => lines > (exemptions[place] ?? 0)), []);
  const stale = Object.keys(exemptions).filter((place) => !large.some((found) => found.place === place));
  deepEqual(stale, [], "an exemption that is not needed any more: remove it");
});

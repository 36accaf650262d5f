/**
 * What is banned from the sources, each with the reason why. There are no exemptions.
 *
 * @module
 */
import { deepEqual } from "node:assert/strict";
import { lineOf, type SourceFile, sourceFiles, visit } from "./source_files.ts";

const files = sourceFiles();
const runtime = files.filter(({ isTest }) => !isTest);

/** Put together, so that this file does not contain what it bans. */
const word = (...parts: string[]) => parts.join("");

const bannedTexts: readonly [what: string, why: string, pattern: RegExp, among: SourceFile[]][] = [
  [
    "unfinished work",
    "it is done, or it is an issue",
    new RegExp(`\\b(?:${word("TO", "DO")}|${word("FIX", "ME")}|${word("XX", "X")}|${word("HA", "CK")})\\b`),
    files,
  ],
  [
    "a path of one machine",
    "it runs elsewhere",
    new RegExp(
      `(?<![a-z])/(?:${word("wo", "rk")}|${word("ho", "me")}|${word("ro", "ot")}|${word("Us", "ers")})/`,
    ),
    files,
  ],
  [
    "a switch off of a sanitizer",
    "leaks are bugs",
    new RegExp(word("sanitize", "(?:Ops|Resources|Exit): false")),
    files,
  ],
  ["a focused test", "the others would not run", new RegExp(word("Deno\\.test", "\\.only")), files],
  [
    "a silenced type error",
    "in a test it may show that a type refuses",
    new RegExp(`${word("@ts-", "ignore")}|${word("@ts-", "nocheck")}|${word("@ts-", "expect-error")}`),
    runtime,
  ],
];

for (const [what, why, pattern, among] of bannedTexts) {
  Deno.test(`banned: ${what} (${why})`, () => {
    const found = among.flatMap(({ path, text }) =>
      text.split("\n").flatMap((line, index) =>
        pattern.test(line) ? [`${path}:${index + 1}: ${line.trim()}`] : []
      )
    );
    deepEqual(found, []);
  });
}

/** Programs that print to a terminal, not services that log. */
const printers = /^main\.ts$|^cli\/|(?:^|\/)(?:build|generate)[a-z_]*\.ts$|^kernel\/settings\.ts$/;

Deno.test("banned: any, non-null assertions, console in a service, an empty catch", () => {
  const found: string[] = [];
  for (const file of runtime) {
    const report = (what: string) => ({ range }: { range: [number, number] }) => {
      found.push(`${file.path}:${lineOf(file, range[0])}: ${what}`);
    };
    visit(file, {
      TSAnyKeyword: report("any"),
      TSNonNullExpression: report("a non-null assertion"),
      DebuggerStatement: report("debugger"),
      "MemberExpression[object.name='console']": (node) => {
        // A cell's console is its plugin's log.
        if (!printers.test(file.path) && file.path !== "sandbox/cell.ts") report("console")(node);
      },
      CatchClause: (node) => {
        // A comment in it says why nothing is to be done.
        if (/^catch(?: \([a-z]+\))? \{\s*\}$/.test(file.text.slice(...node.range))) {
          report("an empty catch")(node);
        }
      },
    });
  }
  deepEqual(found, []);
});

Deno.test("banned: a file that does not open with a noun definition", () => {
  const opened = /^(?:#!.*\n)?\/\*\*\n \* \S[\s\S]*?\n \* @module\n \*\/\n/;
  deepEqual(runtime.filter(({ text }) => !opened.test(text)).map(({ path }) => path), []);
});

Deno.test("banned: names that say nothing, and file names that are not snake_case", () => {
  const empty = /(?:^|\/)(?:utils?|helpers?|common|misc|shared|index)(?:\/|\.ts$)/;
  const name = /^(?:[a-z0-9-]+\/|[a-z0-9_]+\/)*[a-z0-9_]+\.ts$/;
  deepEqual(files.filter(({ path }) => empty.test(path) || !name.test(path)).map(({ path }) => path), []);
});

Deno.test("banned: state in a module", () => {
  const found: string[] = [];
  for (const file of runtime) {
    // A plugin's module is its cell's state: it lives and dies with it.
    if (/^plugins\//.test(file.path)) continue;
    visit(file, {
      "Program > VariableDeclaration[kind='let'], Program > ExportNamedDeclaration > VariableDeclaration[kind='let']":
        (node: Deno.lint.Node) => {
          found.push(`${file.path}:${lineOf(file, node.range[0])}`);
        },
    });
  }
  deepEqual(found, []);
});

/**
 * The document of the escape corpus, `docs/containment.md`: what is attempted, and what came of it.
 *
 * It shows what was seen in a run, and behind it what else a row allows. Two runs may give two documents, so what
 * was seen can be read back (`parseSeen`). A run in which anything that is not allowed was seen gives none
 * (`containment.ts`). Pure.
 *
 * @module
 */
import { type Isolation, isolationTiers } from "../../schemas/capabilities.ts";
import { advisories, type Advisory } from "./advisories.ts";
import {
  type Expected,
  expectedIn,
  isNotHeld,
  isPackageRow,
  outcomesOf,
  type Row,
  rowClasses,
  type Seen,
} from "./row.ts";

/** Where the corpus was run. */
export interface Versions {
  readonly deno: string;
  readonly v8: string;
  /** Of the system's kernel. */
  readonly linux: string;
}

const versionNames = { deno: "Deno", v8: "V8", linux: "Linux" } as const;

/** What `document` says of where it was made; undefined if it does not. */
export function parseVersions(document: string): Versions | undefined {
  const of = (name: string) => new RegExp(`^- ${name}: (\\S+)$`, "m").exec(document)?.[1];
  const [deno, v8, linux] = [of(versionNames.deno), of(versionNames.v8), of(versionNames.linux)];
  if (deno === undefined || v8 === undefined || linux === undefined) return undefined;
  return { deno, v8, linux };
}

/** What a row came to in a tier. */
export type SeenIn = (row: Row, tier: Isolation) => Seen;

/** The outcome that `document` shows of `row`; undefined if it shows none. */
export function parseSeen(document: string, row: Row, tier: Isolation): string | undefined {
  const section = document.split(`\n${classHeading(row.class)}\n`)[1]?.split("\n## ")[0];
  const start = line(...lineOf(row)).slice(0, -2);
  const found = section?.split("\n").find((text) => text.startsWith(`${start} | `));
  const cell = found?.slice(start.length).split(/ \| | \|$/)[isolationTiers.indexOf(tier) + 1];
  return cell === undefined ? undefined : /`([^`]*)`/.exec(cell)?.[1]?.replaceAll("\\|", "|");
}

/** `seenIn` is asked of every tier of which a row says something. */
export function formatContainment(rows: readonly Row[], seenIn: SeenIn, versions: Versions): string {
  const parts = [
    introduction(versions),
    counts(rows),
    notHeld(rows, seenIn),
    advisoryTable(rows),
    ...rowClasses.map((name) => classTable(name, rows.filter((row) => row.class === name), seenIn)),
  ];
  return `${parts.join("\n\n")}\n`;
}

function introduction(versions: Versions): string {
  return `# Containment

What a hostile plugin tries against Airlock, and what came of it. This file is written by a program that ran
every attack below, and says what each came to in that run. A run in which one came to anything that its row does
not allow writes nothing and fails. To see it for yourself, on Linux with bubblewrap and perl:

    deno task containment

It takes a minute or two. Afterwards \`git diff docs/containment.md\` shows the versions, and where another of the
allowed outcomes was seen. The attacks are in \`tests/escape/rows/\`, one function each, to be read;
\`deno task test tests/escape\` runs them too, and fails where this file is of another table or another Deno.

This document is of a run with:

- ${versionNames.deno}: ${versions.deno}
- ${versionNames.v8}: ${versions.v8}
- ${versionNames.linux}: ${versions.linux}

**How an escape is judged.** From outside, and never by the plugin's word. Before and after each attack the
test looks at a world around Airlock: files outside the grants, another plugin's private folder, the store of
packages, Airlock's token and socket (sizes, modes, owners, and the times of any change); settings of the
machine; places where nothing may be planted; listeners and pipes that nobody granted, which count who comes, and
datagrams too; and whether warden, kernel and the other plugin are the same processes as before, and answer.
Secrets lie in a file, in Airlock's environment, behind a listener and with the other plugin; a secret in the
attacker's answer is an escape whatever else it says. For side channels the other plugin looks, from before the
attack begins until after it ends, for what the attacker leaves; where a channel works within one plugin, the
same two run there first, and must find it.

**The outcome** of an attack is what its caller gets, in words: \`gives …\` is a value that the attack
returned, \`throws …\` an error that it met, \`answers …\` an output that it forged for its own call, and
\`fails …\` an error of Airlock's in place of an answer, for example because the cell was killed. The first is
what was seen. Where others stand behind it as also allowed, each is as good: which one it is hangs on timing or
on the machine, and none of them is an escape. \`gives "refused"\` stands for a list of attempts of which every
one was refused.

**The two tiers.** \`process\` works anywhere: each plugin is a Worker with Deno's permissions in a process of
its own, under limits that are watched from outside. \`sealed\` (Linux) is that inside namespaces of its own
and behind a filter of system calls, by bubblewrap: what was not granted is not there, and a flaw in Deno's
permission checks alone is no escape. An empty field means that the attack does not exist in that tier:
programs and native code cannot be granted in \`process\`.

**The attackers** differ by what they were granted. \`bare\` and \`typed\` have nothing; \`small\` and
\`thrifty\` have nothing and low limits; \`granted\` has a folder, a variable and a kind of system information;
\`online\` has one address; \`runner\` has programs, a shell and an interpreter among them; \`native\` has the C
library; \`grantee\` has what the attack says; "a package" attacks by what is in it, when it is installed or
started.

**What it does not show.** Attacks that nobody thought of; flaws of the system's kernel, of bubblewrap or of
the processor; what a plugin learns from how long things take.`;
}

function statedIn(rows: readonly Row[], tier: Isolation): Row[] {
  return rows.filter((row) => expectedIn(row, tier) !== undefined);
}

function counts(rows: readonly Row[]): string {
  const counted = (name: string, of: readonly Row[]) =>
    line(text(name), ...isolationTiers.map((tier) => String(statedIn(of, tier).length)));
  const lines = rowClasses.map((name) => counted(name, rows.filter((row) => row.class === name)));
  return ["## How many\n", head("class", ...isolationTiers), ...lines, counted("all", rows)].join("\n");
}

function notHeld(rows: readonly Row[], seenIn: SeenIn): string {
  const lines = rows.flatMap((row) =>
    isolationTiers.flatMap((tier) => {
      const expected = expectedIn(row, tier);
      if (expected === undefined || !isNotHeld(expected)) return [];
      const seen = seenIn(row, tier);
      const [name, because] = [text(row.name), text(expected.because)];
      const outside = seen.breaches.length === 0 ? "nothing" : seen.breaches.join(", ");
      return [line(name, row.class, tier, words(expected, seen), outside, because)];
    })
  );
  return `## What is not held

Attacks that succeed, in part at least. "Seen from outside" says whether anything beyond the plugin's own
cell was reached: where it is "nothing", the attack got more than it should have, and yet nothing of others.

${head("attack", "class", "tier", "what came of it", "seen from outside", "because")}
${lines.join("\n")}`;
}

function advisoryTable(rows: readonly Row[]): string {
  const lines = Object.entries<Advisory>(advisories).map(([id, { was, untried, left = "" }]) => {
    const tries = rows.filter((row) => row.advisories?.some((tried) => tried === id)).map(({ name }) => name);
    const tried = tries.length > 0 ? tries.join("; ") : `not tried: ${untried}`;
    return line(id, text(was), text(tried), text(left));
  });
  return `## Public advisories of Deno

Each is tried again, in the form in which a plugin could try it here, or it is said why not.

${head("advisory", "what was wrong", "tried by", "what that leaves out")}
${lines.join("\n")}`;
}

function classTable(name: string, rows: readonly Row[], seenIn: SeenIn): string {
  const lines = rows.map((row) =>
    line(...lineOf(row), ...isolationTiers.map((tier) => outcomeIn(row, tier, seenIn)))
  );
  return [`${classHeading(name)}\n`, head("attack", "by", ...isolationTiers), ...lines].join("\n");
}

function classHeading(name: string): string {
  return `## Class: ${name}`;
}

/** What a line begins with. */
function lineOf(row: Row): string[] {
  return [text(row.name), isPackageRow(row) ? "a package" : row.by];
}

function outcomeIn(row: Row, tier: Isolation, seenIn: SeenIn): string {
  const expected = expectedIn(row, tier);
  if (expected === undefined) return "";
  const came = words(expected, seenIn(row, tier));
  return isNotHeld(expected) ? `**not held**: ${came}` : came;
}

function words(expected: Expected, seen: Seen): string {
  const code = (outcome: string) => `\`${outcome.replaceAll("|", "\\|")}\``;
  const others = outcomesOf(expected).filter((outcome) => outcome !== seen.outcome);
  return code(seen.outcome) + (others.length === 0 ? "" : `, also allowed: ${others.map(code).join(" or ")}`);
}

/** As it is, in Markdown. */
function text(plain: string): string {
  return plain.replaceAll(/[\\`*_<|]/g, "\\$&");
}

function line(...cells: readonly string[]): string {
  return `| ${cells.join(" | ")} |`;
}

function head(...names: readonly string[]): string {
  return `${line(...names)}\n${line(...names.map(() => "---"))}`;
}

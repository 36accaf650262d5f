import { deepEqual, equal, ok } from "node:assert/strict";
import { isolationTiers } from "../../schemas/capabilities.ts";
import { advisories, type Advisory } from "./advisories.ts";
import { formatContainment, parseSeen, parseVersions, type SeenIn } from "./containment_document.ts";
import { expectedIn, isNotHeld, outcomesOf, rowClasses } from "./row.ts";
import { rows } from "./table.ts";

const rowsMin = 150;

/** Attacks that succeed in the sealed tier, as seen from outside. The list only shrinks. */
const escapesFromSealed: readonly string[] = [];

/** What was public when the list was last looked through. It only grows. */
const advisoriesKnown: readonly string[] = [
  ...["CVE-2021-32619", "CVE-2021-41641", "CVE-2022-24783", "CVE-2023-33966", "CVE-2024-27931"],
  ...["CVE-2024-27932", "CVE-2024-27933", "CVE-2024-27934", "CVE-2024-27935", "CVE-2024-27936"],
  ...["CVE-2024-34346", "CVE-2025-48888", "CVE-2025-48934", "CVE-2025-48935", "CVE-2025-61785"],
  ...["CVE-2025-61786", "CVE-2026-49401", "CVE-2026-49406", "CVE-2026-49411", "CVE-2026-49859"],
  ...["CVE-2026-49860", "CVE-2026-49983"],
];

Deno.test("the escape corpus has rows of every class in each tier, each under a name of its own", () => {
  const names = rows.map(({ name }) => name);
  deepEqual(names.filter((name, index) => names.indexOf(name) !== index), []);
  for (const tier of isolationTiers) {
    const stated = rows.filter((row) => expectedIn(row, tier) !== undefined);
    ok(stated.length >= rowsMin, `${stated.length} rows in ${tier}`);
    deepEqual(rowClasses.filter((name) => !stated.some((row) => row.class === name)), []);
  }
});

Deno.test("the escape corpus says why a row is not held, and no escape from sealed is new", () => {
  const open = isolationTiers.flatMap((tier) =>
    rows.flatMap((row) => {
      const expected = expectedIn(row, tier);
      return expected !== undefined && isNotHeld(expected) ? [{ tier, row, expected }] : [];
    })
  );
  deepEqual(open.filter(({ expected }) => expected.because === "").map(({ row }) => row.name), []);
  const escapes = open.filter(({ tier, expected }) => tier === "sealed" && expected.breaches.length > 0);
  deepEqual(escapes.map(({ row }) => row.name).sort(), [...escapesFromSealed].sort());
});

Deno.test("the escape corpus tries every advisory of Deno that it lists, or says why not", () => {
  const tried = new Set<string>(rows.flatMap((row) => row.advisories ?? []));
  const listed = Object.entries<Advisory>(advisories);
  deepEqual(listed.filter(([id, { untried }]) => tried.has(id) === (untried !== undefined)), []);
  deepEqual(listed.filter(([, { untried }]) => untried === "").map(([id]) => id), []);
  deepEqual(listed.map(([id]) => id), [...advisoriesKnown].sort());
});

Deno.test("docs/containment.md is of this escape corpus, of outcomes that it allows, and of this Deno", async () => {
  const path = new URL("../../docs/containment.md", import.meta.url);
  const document = await Deno.readTextFile(path);
  const versions = parseVersions(document);
  ok(versions !== undefined, "it does not say which versions it is of: deno task containment");
  const { deno, v8 } = Deno.version;
  equal(versions.deno, deno, "it is of another Deno than this one: deno task containment");
  const seenIn: SeenIn = (row, tier) => {
    const expected = expectedIn(row, tier);
    const outcome = parseSeen(document, row, tier);
    const isAllowed = expected !== undefined && outcome !== undefined &&
      outcomesOf(expected).includes(outcome);
    ok(
      isAllowed,
      `it shows ${outcome} of "${row.name}" in ${tier}, which is not allowed: deno task containment`,
    );
    // A run in which others were seen writes nothing.
    return { outcome, breaches: isNotHeld(expected) ? [...expected.breaches].sort() : [] };
  };
  const written = formatContainment(rows, seenIn, { deno, v8, linux: versions.linux });
  equal(document, written, "it is of another corpus: deno task containment");
});

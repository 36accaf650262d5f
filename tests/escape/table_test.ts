import { deepEqual, ok } from "node:assert/strict";
import { isolationTiers } from "../../schemas/capabilities.ts";
import { expectedIn, isNotHeld, rowClasses } from "./row.ts";
import { rows } from "./table.ts";

const rowsMin = 150;

/** Attacks that succeed in the sealed tier, as seen from outside. The list only shrinks. */
const escapesFromSealed: readonly string[] = [];

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

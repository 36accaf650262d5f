/**
 * Prints the escape corpus as Markdown, without running it.
 *
 *     deno run -A tests/escape/list.ts
 *
 * @module
 */
import { type Isolation, isolationTiers } from "../../schemas/capabilities.ts";
import { expectedIn, isNotHeld, isPackageRow, outcomesOf, type Row, rowClasses } from "./row.ts";
import { rows } from "./table.ts";

function cell(row: Row, tier: Isolation): string {
  const expected = expectedIn(row, tier);
  if (expected === undefined) return "";
  const outcome = outcomesOf(expected).map((text) => `\`${text.replaceAll("|", "\\|")}\``).join(" or ");
  if (!isNotHeld(expected)) return outcome;
  const seen = expected.breaches.length > 0 ? ` (${expected.breaches.join(", ")})` : "";
  return `**not held**${seen}: ${outcome}, because ${expected.because}`;
}

for (const name of rowClasses) {
  console.log(`## ${name}\n\n| attack | by | process | sealed |\n| --- | --- | --- | --- |`);
  for (const row of rows.filter((row) => row.class === name)) {
    const cells = isolationTiers.map((tier) => cell(row, tier));
    console.log(`| ${[row.name, isPackageRow(row) ? "a package" : row.by, ...cells].join(" | ")} |`);
  }
  console.log();
}
const count = (tier: Isolation, isIn: (row: Row) => boolean) =>
  rows.filter((row) => expectedIn(row, tier) !== undefined && isIn(row)).length;
for (const tier of isolationTiers) {
  const open = count(tier, (row) => isNotHeld(expectedIn(row, tier)!));
  console.log(`${tier}: ${count(tier, () => true)} rows, ${open} of them not held.`);
}

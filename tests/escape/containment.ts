/**
 * Runs the escape corpus in both tiers and writes `docs/containment.md` of what was seen, if the table allows all
 * of it; otherwise says what it does not allow, and writes nothing.
 *
 *     deno task containment
 *
 * @module
 */
import { isolationTiers } from "../../schemas/capabilities.ts";
import { missingPackages } from "./attackers.ts";
import { formatContainment, type SeenIn } from "./containment_document.ts";
import { runRows } from "./run_rows.ts";
import { rows } from "./table.ts";

const missing = await missingPackages();
if (missing.length > 0) {
  console.error(`Cannot run the sealed tier: apt-get install ${missing.join(" ")}`);
  Deno.exit(1);
}
const runs = await Promise.all(isolationTiers.map(async (tier) => ({ tier, of: await runRows(tier, rows) })));
const failures = runs.flatMap(({ tier, of }) =>
  of.flatMap(({ row, failure }) => failure ? [`${tier}: ${row.name}: ${failure.message}`] : [])
);
for (const { tier, of } of runs) console.log(`${tier}: ${of.length} attacks`);
if (failures.length > 0) {
  console.error(`Cannot write docs/containment.md: the table says otherwise of\n\n${failures.join("\n\n")}`);
  Deno.exit(1);
}
const seenIn: SeenIn = (row, tier) => {
  const seen = runs.find((run) => run.tier === tier)?.of.find((run) => run.row === row)?.seen;
  if (seen === undefined) throw new Error(`Cannot say what came of "${row.name}" in ${tier}: it was not run`);
  return seen;
};
const versions = { deno: Deno.version.deno, v8: Deno.version.v8, linux: Deno.osRelease() };
const path = new URL("../../docs/containment.md", import.meta.url);
await Deno.writeTextFile(path, formatContainment(rows, seenIn, versions));
console.log("docs/containment.md is written");

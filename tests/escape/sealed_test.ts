import { isSealedAvailable } from "../support/airlock.ts";
import { hasProgram } from "../support/processes.ts";
import { programsNeeded } from "./attackers.ts";
import { runRows } from "./run_rows.ts";
import { rows } from "./table.ts";

const missing = [
  ...await isSealedAvailable() ? [] : ["bubblewrap"],
  ...programsNeeded.filter((name) => !hasProgram(name)),
];
const name = "every row of the escape corpus comes to what it says (sealed)";

Deno.test({
  name: missing.length > 0 ? `${name} [skipped: apt-get install ${missing.join(" ")}]` : name,
  ignore: missing.length > 0,
  fn: (test) => runRows("sealed", rows, test),
});

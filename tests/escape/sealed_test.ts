import { missingPackages } from "./attackers.ts";
import { testRows } from "./run_rows.ts";
import { rows } from "./table.ts";

const missing = await missingPackages();
const name = "every row of the escape corpus comes to what it says (sealed)";

Deno.test({
  name: missing.length > 0 ? `${name} [skipped: apt-get install ${missing.join(" ")}]` : name,
  ignore: missing.length > 0,
  fn: (test) => testRows("sealed", rows, test),
});

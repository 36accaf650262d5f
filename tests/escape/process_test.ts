import { testRows } from "./run_rows.ts";
import { rows } from "./table.ts";

Deno.test("every row of the escape corpus comes to what it says (process)", async (test) => {
  await testRows("process", rows, test);
});

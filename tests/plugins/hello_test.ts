import { deepEqual, equal, match } from "node:assert/strict";
import { Airlock } from "../support/airlock.ts";

Deno.test("hello greets over HTTP, and asks for a name that is missing", async () => {
  await using airlock = await Airlock.start();
  deepEqual(await airlock.call("hello", "greet", { name: "Zoë" }), { message: "Hello, Zoë" });
  for (const input of [{}, { name: 7 }, [], null, 7]) {
    const problem = await airlock.fail("hello", "greet", input);
    equal(problem.code, "ACTION_FAILED", JSON.stringify(input));
    match(problem.detail, /name/);
  }
});

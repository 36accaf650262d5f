import { equal } from "node:assert/strict";
import { largeResultBody, resultMembers } from "./result_text.ts";
import { resultOf } from "./testing_kernel.ts";

Deno.test("largeResultBody() has the text that resultMembers() makes, and says its length", async () => {
  for (const output of ["1", `"${"日".repeat(100_000)}"`, `"${"x".repeat(65_534)}"`]) {
    const result = resultOf(output);
    const { body, bytes } = largeResultBody(result);
    const sent = await new Response(body).bytes();
    equal(new TextDecoder().decode(sent), `{${resultMembers(result)}}`);
    equal(sent.length, bytes);
  }
});

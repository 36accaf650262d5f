import { equal } from "node:assert/strict";
import { configSchema } from "./config.ts";

// A start writes entries for all plugins at once: with a shorter queue there would be none.
Deno.test("configSchema takes no queue of the ledger that is too short for a start", () => {
  for (const [queueRecordsMax, expected] of [[1, false], [4_095, false], [4_096, true]] as const) {
    equal(configSchema.safeParse({ ledger: { queueRecordsMax } }).success, expected, String(queueRecordsMax));
  }
});

import { deepEqual } from "node:assert/strict";
import { manifestSchema } from "../../schemas/manifest.ts";
import { unservedParts } from "./unserved.ts";

const minimal = { id: "a", version: "1.0.0", airlock: "^0.1", entrypoint: "mod.ts", actions: { run: {} } };

Deno.test("unservedParts() names nothing of a minimal manifest", () => {
  deepEqual(unservedParts(manifestSchema.parse(minimal)), []);
});

Deno.test("unservedParts() names each part that is used and not served", () => {
  const used = {
    ...minimal,
    capabilities: {
      net: ["example.com:443"],
      host: { kv: {}, call: ["b@^1"], events: { publish: ["a.*"] } },
    },
    dependencies: [{ id: "b", range: "^1" }],
    health: {},
  };
  deepEqual(unservedParts(manifestSchema.parse(used)), [
    "capabilities.host.kv",
    "capabilities.host.call",
    "capabilities.host.events",
    "dependencies",
  ]);
});

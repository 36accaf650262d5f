import { deepEqual, ok } from "node:assert/strict";
import { configSchema } from "../schemas/config.ts";
import { ledgerEventData } from "../schemas/ledger_event.ts";
import { changedSettings } from "./config_changes.ts";

const initial = configSchema.parse({});

Deno.test("changedSettings() names nothing between two that are alike, in whatever order they were written", () => {
  const grants = { a: { read: ["/srv"] }, b: { eval: true } };
  const before = configSchema.parse({ grants });
  const now = configSchema.parse({ grants: { b: grants.b, a: grants.a } });
  deepEqual(changedSettings(JSON.parse(JSON.stringify(before)), now), []);
});

Deno.test("changedSettings() names settings by their path, and neither plugins nor values", () => {
  const now = configSchema.parse({
    port: 1,
    dev: true,
    plugins: ["/canary"],
    cells: { tier: "process", lower: ["canary"] },
    limits: { memoryMb: 64 },
    grants: { canary: { read: ["/canary"] } },
    ledger: { origin: "canary" },
  });
  deepEqual(changedSettings(initial, now), [
    "port",
    "plugins",
    "dev",
    "cells.tier",
    "cells.lower",
    "limits.memoryMb",
    "grants",
    "ledger.origin",
  ]);
});

Deno.test("changedSettings() of what an older version stored names only settings that exist now", () => {
  const { port: _, cells: { tier: __, ...cells }, ...older } = initial;
  deepEqual(changedSettings({ ...older, cells: { ...cells, canary: 1 }, canary: 2 }, initial), [
    "port",
    "cells.tier",
  ]);
});

Deno.test("changedSettings() names what the ledger takes, also when everything has changed", () => {
  const keys = changedSettings({}, initial);
  ok(keys.length > 60, `${keys.length} settings`);
  ledgerEventData["config.changed"].parse({ keys, configCommitment: "0".repeat(64) });
});

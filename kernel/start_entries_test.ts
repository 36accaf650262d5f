import { deepEqual, equal, rejects } from "node:assert/strict";
import { configSchema } from "../schemas/config.ts";
import { recoveredCallsMax } from "../schemas/ledger_event.ts";
import type { LedgerEventInput } from "./ledger/ledger.ts";
import { createSalts, prepareEvent } from "./ledger/event.ts";
import { recordFailure, recordStart } from "./start_entries.ts";
import type { StoredConfig } from "./store/config_table.ts";

/** A ledger and a store that remember; `isBroken` says whether the disk is. */
function createWorld() {
  const events: LedgerEventInput[] = [];
  const disk = { isBroken: false };
  const stored: { config: StoredConfig | undefined } = { config: undefined };
  const nextSalt = createSalts((count) => crypto.getRandomValues(new Uint8Array(count)));
  return {
    ...{ events, disk, stored },
    ledger: {
      append(event: LedgerEventInput) {
        if (disk.isBroken) return Promise.reject(new Error("the disk is broken"));
        prepareEvent(event, { nowMs: Date.now, nextSalt, valueBytesMax: 4_096 });
        events.push(event);
        return Promise.resolve({ index: 0, size: 1, checkpoint: "" });
      },
    },
    table: {
      get: () => stored.config,
      set(config: object) {
        stored.config = JSON.parse(JSON.stringify(config));
      },
    },
  };
}

const facts = { version: "0.1.0", deno: "2.9.6", tier: "process", before: undefined } as const;
const typesOf = (events: LedgerEventInput[]) => events.map(({ type }) => type);

Deno.test("recordStart() tells of a changed configuration once, and of none at the first start", async () => {
  const world = createWorld();
  const changed = configSchema.parse({ port: 1 });
  for (const config of [configSchema.parse({}), configSchema.parse({}), changed, changed]) {
    await recordStart(world, config, facts);
  }
  const told = ["kernel.started", "kernel.started", "kernel.started", "config.changed", "kernel.started"];
  deepEqual(typesOf(world.events), told);
  deepEqual(world.events[3]?.data, { keys: ["port"] });
});

Deno.test("recordStart() tells of a changed configuration at the next start when this one could not", async () => {
  const world = createWorld();
  await recordStart(world, configSchema.parse({}), facts);
  world.disk.isBroken = true;
  await rejects(recordStart(world, configSchema.parse({ port: 1 }), facts), /the disk is broken/);
  world.disk.isBroken = false;
  await recordStart(world, configSchema.parse({ port: 1 }), facts);
  deepEqual(typesOf(world.events), ["kernel.started", "kernel.started", "config.changed"]);
});

Deno.test("recordStart() lists every call that was left, in as many entries as it takes", async () => {
  const world = createWorld();
  // The largest indexes there are: a full entry still fits into a record.
  const calls = Array.from(
    { length: 2 * recoveredCallsMax + 1 },
    (_, call) => Number.MAX_SAFE_INTEGER - call,
  );
  const before = { started: 1, calls, isComplete: false };
  await recordStart(world, configSchema.parse({}), { ...facts, before });
  const told = world.events.flatMap((event) => event.type === "kernel.recovered" ? [event.data] : []);
  equal(told.length, 3);
  deepEqual(told.flatMap((data) => data.calls), calls);
  deepEqual(new Set(told.map(({ complete }) => complete)), new Set(["no"]));
  equal(world.events.at(-1)?.type, "kernel.started", "what was is told before what is");
});

Deno.test("recordStart() tells of a life that left no call, too", async () => {
  const world = createWorld();
  const before = { started: 1, calls: [], isComplete: true };
  await recordStart(world, configSchema.parse({}), { ...facts, before });
  deepEqual(world.events[0]?.data, { started: 1, calls: [], complete: "yes" });
});

Deno.test("recordFailure() writes that the kernel failed, and gives up where the ledger did", async () => {
  const world = createWorld();
  await recordFailure(world.ledger);
  deepEqual(world.events[0]?.data, { reason: "failed" });
  world.disk.isBroken = true;
  await recordFailure(world.ledger);
  equal(world.events.length, 1);
});

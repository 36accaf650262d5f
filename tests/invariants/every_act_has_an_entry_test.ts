/**
 * Invariant: every act has an entry, on disk before its answer.
 *
 * `every_act_table.ts` says which act has which.
 *
 * @module
 */
import { deepEqual, equal, ok } from "node:assert/strict";
import { ledgerEventTypes } from "../../schemas/ledger_event.ts";
import { Airlock, leftovers, manifest, temporaryFolder, until } from "../support/airlock.ts";
import {
  type Act,
  acts as actsOfTable,
  configOfTable,
  pluginsOfTable,
  shownElsewhere,
} from "./every_act_table.ts";

interface Line {
  seq: number;
  type: string;
  data: Record<string, unknown>;
}

/** What the disk holds of the log; a torn last line is left out, as recovery does. */
async function readLog(dataDir: string): Promise<Line[]> {
  const folder = `${dataDir}/ledger/log`;
  const names = (await Array.fromAsync(Deno.readDir(folder))).map(({ name }) => name).filter((name) =>
    name.endsWith(".ndjson")
  ).sort();
  const texts = await Promise.all(names.map((name) => Deno.readTextFile(`${folder}/${name}`)));
  return texts.join("").split("\n").slice(0, -1).map((line) => JSON.parse(line));
}

/** Size of the tree in an answer's checkpoint. */
function checkpointSize(headers: Headers): number {
  const [, size] = atob(headers.get("airlock-checkpoint") ?? "").split("\n");
  return Number(size);
}

/** With warden and kernel killed together, nobody is left to remove the run folder: the next start does. */
async function allEnded(airlock: Airlock): Promise<void> {
  await airlock.ended();
  await until("all of it ended", () => leftovers(airlock.dataDir).length === 0);
  await Deno.remove(airlock.runFolder, { recursive: true });
}

const plugins = {
  acting: {
    "plugin.jsonc": manifest("acting", { actions: { run: {}, fail: {} }, capabilities: { read: ["*"] } }),
    "mod.ts": `export const actions = { run: () => "done", fail() { throw new Error("no"); } };`,
  },
};

type Request = [method: string, path: string, body?: unknown];

/**
 * An act, the entry that must be on disk when its answer has arrived, and what makes it an act in each round.
 */
const acts: [type: string, request: Request, before?: Request][] = [
  ["call.completed", ["POST", "/v1/plugins/acting/actions/run", {}]],
  ["call.failed", ["POST", "/v1/plugins/acting/actions/fail", {}]],
  ["call.refused", ["POST", "/v1/plugins/acting/actions/none", {}]],
  ["request.refused", ["POST", "/v1/tokens", { name: "x" }]],
  ["token.created", ["POST", "/v1/tokens", { name: "x", role: "viewer" }]],
  ["grant.given", ["PUT", "/v1/plugins/acting/grants", { read: ["/srv"] }], [
    ...["PUT", "/v1/plugins/acting/grants"] as const,
    {},
  ]],
  ["plugin.disabled", ["POST", "/v1/plugins/acting/disable"], ["POST", "/v1/plugins/acting/enable"]],
  ["plugin.stopped", ["POST", "/v1/plugins/hello/stop"], ["POST", "/v1/plugins/hello/start"]],
  ["commitment.opened", ["GET", "/v1/ledger/commitments/1"]],
  ["job.enqueued", ["POST", "/v1/jobs", { plugin: "acting", action: "run", delayMs: 600_000 }]],
  ["schedule.created", ["POST", "/v1/schedules", {
    ...{ name: "x", plugin: "acting", action: "run", cron: "0 0 1 1 *" },
  }]],
];

for (const [type, request, before] of acts) {
  Deno.test(`every act has an entry: ${type} is on disk before the answer, whatever is killed then`, async () => {
    await using folder = await temporaryFolder();
    const dataDir = `${folder.path}/data`;
    for (let round = 0; round < 2; round++) {
      await using airlock = await Airlock.start({ dataDir, plugins });
      if (before !== undefined) equal((await airlock.request(...before)).status, 200);
      const from = (await readLog(dataDir)).length;
      const kernel = await airlock.kernelPid();
      const response = await airlock.fetch(...request);
      // The headers are here: nothing that happens from now on may take the entry away.
      Deno.kill(kernel, "SIGKILL");
      airlock.signal("SIGKILL");
      const size = checkpointSize(response.headers);
      await response.body?.cancel().catch(() => {});
      await allEnded(airlock);
      const lines = await readLog(dataDir);
      ok(size > 0 && lines.length >= size, `${lines.length} lines, checkpoint of ${size}`);
      const types = lines.slice(from, size).map((line) => line.type);
      equal(types.filter((told) => told === type).length, 1, `${type} in ${types}`);
    }
  });
}

Deno.test("every act has an entry: calls answered before a kill are all in the next start's ledger", async () => {
  await using folder = await temporaryFolder();
  const dataDir = `${folder.path}/data`;
  const answered: number[] = [];
  for (let round = 0; round < 3; round++) {
    await using airlock = await Airlock.start({ dataDir, plugins });
    const kernel = await airlock.kernelPid();
    const killAt = answered.length + 40;
    const caller = async () => {
      for (;;) {
        try {
          const { body } = await airlock.request<{ ledger: { index: number } }>(
            "POST",
            "/v1/plugins/acting/actions/run",
            {},
          );
          answered.push(body.ledger.index);
        } catch {
          return; // the kernel is gone
        }
        if (answered.length === killAt) {
          Deno.kill(kernel, "SIGKILL");
          airlock.signal("SIGKILL");
        }
      }
    };
    await Promise.all(Array.from({ length: 8 }, caller));
    await allEnded(airlock);
  }
  await using airlock = await Airlock.start({ dataDir, plugins });
  const completed = new Set(
    (await airlock.records()).filter(({ type }) => type === "call.completed").map(({ seq }) => seq),
  );
  deepEqual(answered.filter((index) => !completed.has(index)), []);
  ok(answered.length >= 120);
});

Deno.test("every act has an entry: each type of entry is that of an act in the table", () => {
  const inTable = actsOfTable.flatMap(({ entries }) => entries);
  deepEqual([...new Set([...inTable, ...Object.keys(shownElsewhere)])].sort(), [...ledgerEventTypes].sort());
});

Deno.test("every act has an entry: each act of the table has those it says", async () => {
  await using folder = await temporaryFolder();
  const dataDir = `${folder.path}/data`;
  let from = 0;
  const check = async ({ act, entries }: Pick<Act, "act" | "entries">) => {
    const found = await until(`the entries of: ${act}`, async () => {
      const types = (await readLog(dataDir)).slice(from).map(({ type }) => type);
      return entries.every((type) => types.includes(type)) && types;
    });
    from += found.length;
  };
  const start = (config: Record<string, unknown>) =>
    Airlock.start({ dataDir, config, plugins: pluginsOfTable, args: ["--tier", "process"] });
  const [first, ...rest] = actsOfTable;
  {
    await using airlock = await start(configOfTable);
    await check(first!);
    for (const act of rest.filter(({ run }) => run !== undefined)) {
      await act.run?.(airlock);
      await check(act);
    }
  }
  await using _airlock = await start({ ...configOfTable, tokensMax: 99 });
  for (const act of rest.filter(({ run }) => run === undefined)) await check(act);
});

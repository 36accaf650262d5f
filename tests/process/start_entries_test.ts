/**
 * The entries of a start: what it tells of the life before, and of what changed meanwhile.
 *
 * @module
 */
import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { Airlock, manifest, temporaryFolder, until } from "../support/airlock.ts";

type Entry = Awaited<ReturnType<Airlock["records"]>>[number];

const mod = `export const actions = { run: () => "fine", hold: () => new Promise(() => {}) };`;
const actions = { run: {}, hold: { concurrency: 16 } };

/** A data folder, a plugin's folder and a configuration, for lives of Airlock one after the other. */
async function createPlace() {
  const folder = await temporaryFolder();
  const dataDir = `${folder.path}/data`;
  const config = `${folder.path}/airlock.jsonc`;
  const plugins = `${folder.path}/plugins`;
  const flags = ["--port", "0", "--data", dataDir, "--plugins", plugins, "--config", config];
  const place = {
    dataDir,
    start: (...more: string[]) => Airlock.start({ dataDir, flags: [...flags, "--tier", "process", ...more] }),
    configure: (settings: Record<string, unknown>) => Deno.writeTextFile(config, JSON.stringify(settings)),
    async write(version: string) {
      await Deno.mkdir(`${plugins}/reader`, { recursive: true });
      const capabilities = { read: ["*"] };
      const text = manifest("reader", { version, actions, capabilities });
      await Deno.writeTextFile(`${plugins}/reader/plugin.jsonc`, text);
      await Deno.writeTextFile(`${plugins}/reader/mod.ts`, mod);
    },
    remove: () => Deno.remove(`${plugins}/reader`, { recursive: true }),
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
  await place.configure({});
  await place.write("1.0.0");
  return place;
}

/** The entries from the last `kernel.started` on, and those of the recovery before it. */
async function lastStart(airlock: Airlock): Promise<Entry[]> {
  const records = await airlock.records();
  const started = records.findLastIndex(({ type }) => type === "kernel.started");
  return [
    ...records.slice(0, started).filter(({ type }) => type === "kernel.recovered"),
    ...records.slice(started),
  ];
}

const told = ["kernel.recovered", "config.changed", "plugin.found", "grant.given", "grant.taken"];

function changesIn(entries: Entry[]) {
  return entries.filter(({ type }) => told.includes(type)).map(({ type, actor, plugin, data }) => {
    const { granted, keys } = data as { granted?: { read?: string[] }; keys?: string[] };
    const read = granted?.read?.map((path) => path.replace(/.*\/packages\/.*/, "PACKAGE"));
    return [type, actor, plugin, ...(keys ?? read ?? [])];
  });
}

Deno.test("a start tells what changed since the last one, and nothing where nothing did", async () => {
  await using place = await createPlace();
  const lives: [change: () => Promise<void>, expected: unknown[]][] = [
    [() => Promise.resolve(), []],
    [
      () => place.configure({ grants: { reader: { read: ["/srv"] } } }),
      [["config.changed", "kernel", "", "grants"], ["grant.given", "config", "reader@1.0.0", "/srv"]],
    ],
    [
      () => place.write("2.0.0"),
      [
        ["plugin.found", "kernel", "reader@2.0.0"],
        ["grant.taken", "kernel", "reader@2.0.0", "PACKAGE"],
        ["grant.given", "kernel", "reader@2.0.0", "PACKAGE"],
      ],
    ],
    [
      () => place.configure({ tokensMax: 99 }),
      [["config.changed", "kernel", "", "grants", "tokensMax"], [
        "grant.taken",
        "config",
        "reader@2.0.0",
        "/srv",
      ]],
    ],
    [() => Promise.resolve(), []],
  ];
  {
    await using airlock = await place.start();
    const first = changesIn(await lastStart(airlock)).filter(([, , plugin]) => plugin === "reader@1.0.0");
    deepEqual(first.map(([type]) => type), ["plugin.found", "grant.given"]);
  }
  for (const [change, expected] of lives) {
    await change();
    await using airlock = await place.start();
    deepEqual(changesIn(await lastStart(airlock)), expected);
  }
  await place.remove();
  await using airlock = await place.start();
  deepEqual(changesIn(await lastStart(airlock)).map(([type, actor, plugin]) => [type, actor, plugin]), [
    ["grant.taken", "kernel", "reader"],
  ]);
});

Deno.test("a start commits to the configuration, and says nothing else of it", async () => {
  await using place = await createPlace();
  await using airlock = await place.start();
  const [started] = await lastStart(airlock);
  deepEqual(Object.keys(started?.data ?? {}).sort(), ["configCommitment", "deno", "tier", "version"]);
  for (const file of ["airlock.db", "airlock.db-wal"]) {
    equal((await Deno.stat(`${place.dataDir}/${file}`)).mode! & 0o777, 0o600);
  }
});

Deno.test("a start that fails is told, and the next one has nothing to recover", async () => {
  await using place = await createPlace();
  await Deno.mkdir(`${place.dataDir}/admin.token`, { recursive: true });
  await rejects(place.start(), /Airlock cannot start: Is a directory/);
  await Deno.remove(`${place.dataDir}/admin.token`);
  await using airlock = await place.start();
  const entries = (await airlock.records()).filter(({ type }) => type.startsWith("kernel."));
  deepEqual(entries.map(({ type, data }) => [type, data["reason"]]), [
    ["kernel.started", undefined],
    ["kernel.stopped", "failed"],
    ["kernel.started", undefined],
  ]);
});

Deno.test("every call that was accepted has an outcome, or is told of after the kernel was killed", async () => {
  await using place = await createPlace();
  await using airlock = await place.start();
  for (let kill = 0; kill < 3; kill++) {
    const before = await airlock.records();
    const started = before.findLast(({ type }) => type === "kernel.started")?.seq;
    const held = Array.from({ length: 4 }, () => airlock.invoke("reader", "hold").catch(() => "lost"));
    let isKilled = false;
    const caller = async () => {
      while (!isKilled) await airlock.invoke("reader", "run").catch(() => isKilled = true);
    };
    const callers = [caller(), caller(), caller()];
    const pid = await airlock.kernelPid();
    await until("calls under way", async () => {
      const records = (await airlock.records()).slice(before.length);
      return records.filter(({ type, data }) => type === "call.accepted" && data["action"] === "hold")
            .length === 4 &&
        records.length > 50;
    });
    Deno.kill(pid, "SIGKILL");
    await Promise.all([...held, ...callers]);
    await until("the kernel back", async () => {
      try {
        return await airlock.kernelPid() !== pid;
      } catch {
        return false; // nobody listens between two lives
      }
    });
    const records = await airlock.records();
    const recovered = records.filter(({ type }) => type === "kernel.recovered");
    equal(recovered.length, kill + 1);
    const last = recovered.at(-1);
    deepEqual([last?.data["started"], last?.data["complete"]], [started, "yes"]);
    equal(records[(last?.seq ?? 0) + 1]?.type, "kernel.started");
    const accepted = records.filter(({ type }) => type === "call.accepted").map(({ seq }) => seq);
    const outcomes = records.flatMap(({ type, data }) => {
      if (type === "call.completed" || type === "call.failed") return [data["accepted"]];
      return type === "kernel.recovered" ? data["calls"] as number[] : [];
    });
    deepEqual(outcomes.toSorted((a, b) => Number(a) - Number(b)), accepted, "one outcome for each");
    ok((last?.data["calls"] as number[]).length >= 4);
  }
});

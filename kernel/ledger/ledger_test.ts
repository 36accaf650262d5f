import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { fileURLToPath } from "node:url";
import { ProblemError } from "../../schemas/problem.ts";
import { openCheckpoint } from "./checkpoint.ts";
import type { LedgerFiles } from "./ledger_files.ts";
import { openLedger } from "./ledger.ts";
import { parseVerifierKey } from "./signed_note.ts";
import {
  accepted,
  createDeps,
  folder,
  labelOf,
  open,
  options,
  readAll,
  verifyAll,
} from "./testing/ledger_support.ts";
import { MemoryDisk } from "./testing/memory_disk.ts";

const codeOf = (error: unknown) => error instanceof ProblemError ? error.code : String(error);
const hasCode = (code: string) => (error: unknown) => codeOf(error) === code;

async function withFolder(use: (folder: string, data: string) => Promise<void>): Promise<void> {
  const data = await Deno.makeTempDir();
  try {
    await use(`${data}/ledger`, data);
  } finally {
    await Deno.remove(data, { recursive: true });
  }
}

Deno.test("openLedger() begins a ledger with its origin and key, and keeps both", async () => {
  const disk = new MemoryDisk();
  const names: string[] = [];
  for (let start = 0; start < 3; start++) {
    await using ledger = await open(disk);
    const [first] = await verifyAll(ledger);
    const { type, data } = JSON.parse(first.line);
    assert.equal(type, "ledger.created");
    assert.deepEqual(data, { origin: ledger.origin, keys: ledger.verifierKeys });
    assert.match(ledger.origin, /^airlock-[0-9a-f]{8}$/);
    names.push(...ledger.verifierKeys);
  }
  assert.equal(new Set(names).size, 1);
});

Deno.test("openLedger() takes the configured origin, and refuses another one later", async () => {
  const disk = new MemoryDisk();
  const start = (origin: string) => openLedger({ ...options, origin }, createDeps(disk).deps);
  {
    await using ledger = await start("example.org/log");
    assert.equal(ledger.origin, "example.org/log");
  }
  await assert.rejects(() => start("example.org/other"), (error) => {
    assert.match(
      String(error),
      /its origin is "example.org\/log" for good, the configuration has "example.org\/other"/,
    );
    return codeOf(error) === "CONFIG_INVALID";
  });
});

Deno.test("Ledger has the same root after it was closed and opened", async () => {
  const disk = new MemoryDisk();
  const first = await open(disk);
  await Promise.all(Array.from({ length: 300 }, (_, index) => first.append(accepted(`r${index}`))));
  await verifyAll(first);
  await first[Symbol.asyncDispose]();
  await using second = await open(disk);
  assert.deepEqual(second.checkpoint(), first.checkpoint());
  await verifyAll(second);
});

Deno.test("Ledger.append() answers with a signed checkpoint that covers the record", async () => {
  await using ledger = await open(new MemoryDisk());
  const appended = await Promise.all([1, 2, 3].map((n) => ledger.append(accepted(`r${n}`))));
  assert.deepEqual(appended.map(({ index }) => index), [1, 2, 3]);
  for (const { index, size, checkpoint } of appended) {
    const note = new TextDecoder().decode(Uint8Array.fromBase64(checkpoint));
    assert.equal(openCheckpoint(note, [parseVerifierKey(ledger.verifierKeys[0])]).checkpoint.size, size);
    assert.ok(index < size);
    assert.equal(checkpoint, ledger.checkpointBase64());
    assert.equal(note, ledger.checkpoint().note);
  }
});

Deno.test("Ledger.append() hands salts and values to the sink, under the index of their record", async () => {
  const { deps, rows } = createDeps(new MemoryDisk());
  await using ledger = await openLedger(options, deps);
  const pushed = ["one", "two"].map((request) =>
    ledger.append(accepted(request)).then(({ index }) => {
      assert.ok(rows.some((row) => row.index === index), "saved before it was acknowledged");
    })
  );
  await Promise.all(pushed);
  const entries = await readAll(ledger);
  for (const { index, field, salt, value } of rows) {
    const opened = createHash("sha256").update("airlock/commitment/v1\n").update(salt).update(value!).digest(
      "hex",
    );
    assert.equal(JSON.parse(entries[index].line).data[field], opened);
  }
  assert.deepEqual(rows.map(({ value }) => new TextDecoder().decode(value!)), ["one", "two"]);
});

Deno.test("Ledger.append() refuses more than may wait, and loses none that it took", async () => {
  await using ledger = await open(new MemoryDisk(), { queueRecordsMax: 5 });
  const settled = await Promise.allSettled(
    Array.from({ length: 8 }, (_, index) => ledger.append(accepted(`r${index}`))),
  );
  const refused = settled.filter((result) => result.status === "rejected");
  assert.deepEqual(refused.map(({ reason }) => codeOf(reason)), ["QUEUE_FULL", "QUEUE_FULL", "QUEUE_FULL"]);
  assert.deepEqual((await verifyAll(ledger)).map(labelOf), ["ledger.created", "r0", "r1", "r2", "r3", "r4"]);
});

Deno.test("Ledger.append() refuses a bad event without a gap in the log", async () => {
  await using ledger = await open(new MemoryDisk());
  await assert.rejects(() => ledger.append(accepted("no spaces allowed")), TypeError);
  assert.equal((await ledger.append(accepted("r1"))).index, 1);
});

Deno.test("Ledger.append() rejects for good after a failed sync, calls fatal once and syncs no more", async () => {
  const disk = new MemoryDisk();
  const { deps, fatals } = createDeps(disk);
  const ledger = await openLedger(options, deps);
  const { size } = ledger;
  // The next operations are the write and its sync.
  disk.fault = { at: disk.operations + 2, mode: "after" };
  const appends = [accepted("r1"), accepted("r2")].map((event) => ledger.append(event));
  for (const append of appends) await assert.rejects(append, hasCode("INTERNAL"));
  const operations = disk.operations;
  await assert.rejects(() => ledger.append(accepted("r3")), hasCode("INTERNAL"));
  await ledger[Symbol.asyncDispose]();
  assert.equal(disk.operations, operations);
  assert.equal(fatals.length, 1);
  assert.equal(ledger.size, size);
});

Deno.test("Ledger.append() fails when the sink does", async () => {
  const { deps, fatals } = createDeps(new MemoryDisk());
  const save = () => {
    throw new Error("the store is full");
  };
  await using ledger = await openLedger(options, { ...deps, commitments: { save, deleteFrom() {} } });
  await assert.rejects(() => ledger.append(accepted("r1")), hasCode("INTERNAL"));
  assert.match(String(fatals), /the store is full/);
});

// `ledger.recovered` takes the index of the first record that is gone: what opens that must be gone before.
Deno.test("openLedger() has the openings of records that it lost deleted, before it appends anything", async () => {
  const disk = new MemoryDisk();
  {
    await using ledger = await open(disk);
    await ledger.append(accepted("r1"));
  }
  const [file = ""] = disk.paths().filter((name) => name.startsWith(`${folder}/log/`));
  disk.put(file, new Uint8Array([...disk.get(file), 0x7b]));
  const { deps } = createDeps(disk);
  const deleted: number[] = [];
  const commitments = { save() {}, deleteFrom: (index: number) => void deleted.push(index) };
  await using ledger = await openLedger(options, { ...deps, commitments });
  assert.deepEqual([deleted, ledger.size], [[2], 3]);
});

Deno.test("Ledger publishes the newest checkpoint in the background", async () => {
  const disk = new MemoryDisk();
  const path = `${folder}/checkpoint`;
  const read = () => new TextDecoder().decode(disk.get(path));
  const published = Promise.withResolvers<void>();
  const files: LedgerFiles = {
    open: (name, how) => disk.open(name, how),
    readAt: (name, offsetBytes, bytesMax) => disk.readAt(name, offsetBytes, bytesMax),
    makeFolder: (name) => disk.makeFolder(name),
    list: (name) => disk.list(name),
    remove: (name) => disk.remove(name),
    async rename(from, to) {
      await disk.rename(from, to);
      if (to === path && read().split("\n")[1] === "4") published.resolve();
    },
  };
  await using ledger = await open(files, { checkpointIntervalMs: 1 });
  for (const request of ["r1", "r2", "r3"]) await ledger.append(accepted(request));
  await published.promise;
  assert.equal(read(), ledger.checkpoint().note);
});

Deno.test("Ledger keeps each published checkpoint in checkpoints.log, and mends a torn line", async () => {
  const disk = new MemoryDisk();
  const path = `${folder}/checkpoints.log`;
  for (let start = 0; start < 3; start++) {
    await using ledger = await open(disk);
    await ledger.append(accepted(`r${start}`));
    await ledger[Symbol.asyncDispose]();
    disk.put(path, new Uint8Array([...disk.get(path), ...new TextEncoder().encode("torn")]));
  }
  const lines = new TextDecoder().decode(disk.get(path)).split("\n");
  assert.equal(lines.pop(), "torn");
  const sizes = lines.map((line) => new TextDecoder().decode(Uint8Array.fromBase64(line)).split("\n")[1]);
  assert.deepEqual(sizes, ["0", "1", "2", "3", "4"]);
});

Deno.test("Ledger refuses appends once it is closed, and closes twice", async () => {
  const ledger = await open(new MemoryDisk());
  const last = ledger.append(accepted("last"));
  await Promise.all([ledger[Symbol.asyncDispose](), ledger[Symbol.asyncDispose]()]);
  assert.equal((await last).index, 1);
  await assert.rejects(() => ledger.append(accepted("late")), hasCode("NOT_READY"));
});

Deno.test("openLedger() refuses a second writer, and waits for one that is going", async () => {
  await withFolder(async (folder) => {
    const first = await openLedger({ ...options, folder }, createDeps().deps);
    await assert.rejects(() => openLedger({ ...options, folder }, createDeps().deps), (error) => {
      assert.ok(String(error).includes(folder));
      return codeOf(error) === "CONFLICT";
    });
    const next = openLedger({ ...options, folder, lockTimeoutMs: 10_000 }, createDeps().deps);
    await first.append(accepted("still-the-writer"));
    await first[Symbol.asyncDispose]();
    await using second = await next;
    assert.equal((await verifyAll(second)).length, 2);
  });
});

Deno.test("openLedger() makes files that only their owner can read", async () => {
  await withFolder(async (folder) => {
    await using _ledger = await openLedger({ ...options, folder }, createDeps().deps);
    for (
      const name of [
        "signing.key",
        "checkpoint",
        "checkpoints.log",
        "lock",
        "log/00000000000000000000.ndjson",
      ]
    ) {
      assert.equal((await Deno.stat(`${folder}/${name}`)).mode! & 0o777, 0o600, name);
    }
    assert.equal((await Deno.stat(folder)).mode! & 0o777, 0o700);
  });
});

/** Runs the append loop in a process that may touch `data` only, kills it, and gives what it acknowledged. */
async function killWhileAppending(folder: string, data: string): Promise<Map<number, string>> {
  const script = fileURLToPath(new URL("./testing/append_loop.ts", import.meta.url));
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", `--allow-read=${data}`, `--allow-write=${data}`, script, folder],
    stdout: "piped",
  }).spawn();
  let text = "";
  let killed = false;
  for await (const chunk of child.stdout.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    if (killed || text.length <= 5_000) continue;
    child.kill("SIGKILL");
    killed = true;
  }
  assert.equal((await child.status).signal, "SIGKILL");
  const whole = text.slice(0, text.lastIndexOf("\n")).split("\n").map((line) => line.split(" "));
  return new Map(whole.map(([index, request]) => [Number(index), request]));
}

Deno.test("Ledger loses nothing acknowledged when its process is killed, again and again", async () => {
  await withFolder(async (folder, data) => {
    const acknowledged = new Map<number, string>();
    for (let round = 0; round < 3; round++) {
      for (const [index, request] of await killWhileAppending(folder, data)) acknowledged.set(index, request);
      await using ledger = await openLedger({ ...options, folder, lockTimeoutMs: 10_000 }, createDeps().deps);
      const labels = (await verifyAll(ledger)).map(labelOf);
      for (const [index, request] of acknowledged) assert.equal(labels[index], request);
    }
    assert.ok(acknowledged.size > 300);
  });
});

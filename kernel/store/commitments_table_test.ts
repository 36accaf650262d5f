import assert from "node:assert/strict";
import { StoreError } from "./database.ts";
import { openCommitments, type Opening } from "./commitments_table.ts";

function createFile() {
  const folder = Deno.makeTempDirSync();
  return {
    file: `${folder}/commitments.db`,
    [Symbol.dispose]: () => Deno.removeSync(folder, { recursive: true }),
  };
}

function opening(index: number, field = "input", value: Uint8Array | null = null): Opening {
  return { index, field, salt: crypto.getRandomValues(new Uint8Array(16)), value };
}

const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => opening(from + i));

/** Whether the file, or its WAL, has these bytes. */
function isHeld(file: string, needle: Uint8Array): boolean {
  return ["", "-wal"].some((suffix) => Deno.readFileSync(file + suffix).toHex().includes(needle.toHex()));
}

/** Runs `body` in a process that may write files of `fileBytesMax` at most and kills itself at its end. */
async function runAndKill(file: string, body: string, fileBytesMax = "unlimited"): Promise<string> {
  const program = `${file}.ts`;
  const modules = ["./commitments_table.ts", "./database.ts", "./migrations.ts"].map((name) =>
    JSON.stringify(import.meta.resolve(name))
  );
  Deno.writeTextFileSync(
    program,
    `
    import { openCommitments } from ${modules[0]};
    import { openDatabase } from ${modules[1]};
    import { commitmentsMigrations as migrations } from ${modules[2]};
    const file = Deno.args[0];
    ${body}
    Deno.kill(Deno.pid, "SIGKILL");
    `,
  );
  const config = `--config=${new URL("../../deno.json", import.meta.url).pathname}`;
  const deno = [Deno.execPath(), "run", "-A", "--no-check", config, program, file];
  // Over the limit a write then fails, as on a full disk, rather than ending the process.
  const limited = 'trap "" XFSZ; exec prlimit --fsize="$0" -- "$@"';
  const { signal, stdout } = await new Deno.Command("sh", {
    args: ["-c", limited, fileBytesMax, ...deno],
    stderr: "inherit",
  }).output();
  assert.equal(signal, "SIGKILL");
  return new TextDecoder().decode(stdout);
}

Deno.test("Commitments returns what was inserted, by entry and field", () => {
  using temporary = createFile();
  const pair = [opening(4, "detail", new Uint8Array([1, 2])), opening(4, "target")];
  const many = range(5, 50);
  {
    using commitments = openCommitments({ ...temporary, rowsMax: 100 });
    commitments.save([...pair, ...many]);
    commitments.save([]);
  }
  using commitments = openCommitments({ ...temporary, rowsMax: 100 });
  assert.deepEqual(commitments.get(4), pair);
  for (const one of many) assert.deepEqual(commitments.get(one.index), [one]);
  assert.deepEqual(commitments.get(99), []);
  assert.equal(commitments.rows, 47);
});

Deno.test("Commitments writes nothing of a batch that holds a field twice", () => {
  using temporary = createFile();
  using commitments = openCommitments({ ...temporary, rowsMax: 100 });
  commitments.save(range(0, 3));
  assert.throws(() => commitments.save([opening(3), opening(2)]));
  assert.deepEqual(commitments.get(3), []);
  assert.equal(commitments.rows, 3);
  commitments.save([opening(3)]);
  assert.equal(commitments.rows, 4);
});

Deno.test("Commitments trims the oldest entries, whole", () => {
  using temporary = createFile();
  using commitments = openCommitments({ ...temporary, rowsMax: 10 });
  commitments.save([opening(0, "a"), opening(0, "b"), ...range(1, 9)]);
  assert.equal(commitments.rows, 10);
  commitments.save([opening(9)]);
  assert.deepEqual(commitments.get(0), []);
  assert.equal(commitments.rows, 9);
  for (let index = 10; index < 100; index += 3) {
    commitments.save(range(index, index + 3));
    assert.ok(commitments.rows <= 10);
  }
  assert.equal(commitments.get(99).length, 1);
});

Deno.test("Commitments works off a lowered limit insert by insert", () => {
  using temporary = createFile();
  {
    using commitments = openCommitments({ ...temporary, rowsMax: 1_000 });
    commitments.save(range(0, 1_000));
  }
  using commitments = openCommitments({ ...temporary, rowsMax: 10 });
  commitments.save([opening(1_000)]);
  assert.equal(commitments.rows, 1_001 - 66);
  for (let index = 1_001; index < 1_030; index++) commitments.save([opening(index)]);
  assert.equal(commitments.rows, 10);
  assert.equal(commitments.get(1_020).length, 1);
});

Deno.test("Commitments deletes at and after an index, so that it can be used again", () => {
  using temporary = createFile();
  using commitments = openCommitments({ ...temporary, rowsMax: 100 });
  commitments.save(range(0, 10));
  assert.equal(commitments.deleteFrom(7), 3);
  assert.equal(commitments.deleteFrom(7), 0);
  commitments.save([opening(7, "reason")]);
  assert.deepEqual(commitments.get(7).map(({ field }) => field), ["reason"]);
  assert.equal(commitments.rows, 8);
});

Deno.test("Commitments leaves no byte of what it shredded in its files", () => {
  using temporary = createFile();
  const secret = crypto.getRandomValues(new Uint8Array(3_000));
  const salt = crypto.getRandomValues(new Uint8Array(16));
  const holds = (needle: Uint8Array) => isHeld(temporary.file, needle);
  using commitments = openCommitments({ ...temporary, rowsMax: 100 });
  commitments.save([...range(0, 3), { index: 3, field: "input", salt, value: secret }]);
  assert.ok(holds(secret.subarray(0, 64)) && holds(salt));
  assert.equal(commitments.delete(3), 1);
  assert.equal(commitments.delete(3), 0);
  for (let at = 0; at + 64 <= secret.length; at += 64) assert.ok(!holds(secret.subarray(at, at + 64)));
  assert.ok(!holds(salt));
  assert.equal(commitments.rows, 3);
});

Deno.test("openCommitments() refuses a second opener", () => {
  using temporary = createFile();
  using first = openCommitments({ ...temporary, rowsMax: 10 });
  first.save([opening(0)]);
  assert.throws(
    () => openCommitments({ ...temporary, rowsMax: 10 }),
    (error) => error instanceof StoreError && error.code === "busy",
  );
});

Deno.test("openCommitments() shreds what a killed process had deleted and not yet shredded", async () => {
  using temporary = createFile();
  const secret = crypto.getRandomValues(new Uint8Array(64));
  {
    using commitments = openCommitments({ ...temporary, rowsMax: 10 });
    commitments.save([opening(2), opening(3, "input", secret)]);
  }
  // As Commitments.delete() does it, up to the moment in between: the page that is written last keeps the other row.
  await runAndKill(
    temporary.file,
    `
    const db = openDatabase({ file, migrations, durability: "normal", check: false, exclusive: true });
    db.exec("UPDATE commitments SET value = value WHERE entry = 3");
    db.exec("DELETE FROM commitments WHERE entry = 3; UPDATE commitments_count SET rows = 1");
    `,
  );
  assert.ok(isHeld(temporary.file, secret));
  using commitments = openCommitments({ ...temporary, rowsMax: 10 });
  assert.ok(!isHeld(temporary.file, secret));
  assert.deepEqual([commitments.get(3), commitments.get(2).length, commitments.rows], [[], 1, 1]);
});

// The file must grow to take what is in the WAL, and cannot.
Deno.test("Commitments.delete() fails as long as the disk is too full to shred, and shreds once it is not", async () => {
  using temporary = createFile();
  const filler = () => crypto.getRandomValues(new Uint8Array(60_000));
  {
    using commitments = openCommitments({ ...temporary, rowsMax: 100 });
    for (let index = 0; index < 20; index++) commitments.save([opening(index, "input", filler())]);
  }
  const { size } = Deno.statSync(temporary.file);
  const said = await runAndKill(
    temporary.file,
    `
    const commitments = openCommitments({ file, rowsMax: 100 });
    for (let index = 20; index < 26; index++) {
      const value = new Uint8Array(60_000).fill(0xa0 + index - 20);
      commitments.save([{ index, field: "input", salt: new Uint8Array(16), value }]);
    }
    for (let attempt = 1; attempt <= 2; attempt++) {
      try {
        console.log(commitments.delete(20));
      } catch (error) {
        console.log(error.name, error.code, error.message.includes("free disk space"), commitments.get(20).length);
      }
    }
    `,
    String(size + 100_000),
  );
  assert.equal(said, "StoreError unusable true 0\n".repeat(2));
  const secret = new Uint8Array(64).fill(0xa0);
  assert.ok(isHeld(temporary.file, secret));
  using commitments = openCommitments({ ...temporary, rowsMax: 100 });
  assert.ok(!isHeld(temporary.file, secret));
  assert.deepEqual([commitments.delete(20), commitments.rows], [0, 25]);
  assert.ok(isHeld(temporary.file, new Uint8Array(64).fill(0xa1)));
});

import assert from "node:assert/strict";
import { sha256HexOf } from "../trust/package_digest.ts";
import { listPackage, readListedFile } from "./package_files.ts";

const limits = { bytesMax: 1_000, filesMax: 10 };

async function withFolder(test: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.realPath(await Deno.makeTempDir());
  try {
    await test(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function run(command: string, ...args: string[]): Promise<void> {
  const { success } = await new Deno.Command(command, { args }).output();
  assert.ok(success, command);
}

Deno.test("listPackage() lists files of all folders, and readListedFile() hashes what it reads", async () => {
  await withFolder(async (folder) => {
    await Deno.mkdir(`${folder}/lib/deep`, { recursive: true });
    await Deno.mkdir(`${folder}/.git`);
    await Deno.writeTextFile(`${folder}/.git/config`, "skipped");
    await Deno.writeTextFile(`${folder}/mod.ts`, "a");
    await Deno.writeTextFile(`${folder}/lib/deep/empty.ts`, "");
    const listing = await listPackage(folder, limits, (name) => name === ".git");
    assert.deepEqual(listing.faults, []);
    assert.ok(listing.complete);
    assert.deepEqual(listing.files.map(({ path }) => path), ["lib/deep/empty.ts", "mod.ts"]);
    for (const [index, text] of ["", "a"].entries()) {
      const read = await readListedFile(listing.root, listing.files[index]);
      assert.ok(read.ok);
      assert.equal(new TextDecoder().decode(read.bytes), text);
      assert.equal(read.sha256, sha256HexOf(text));
    }
  });
});

Deno.test("listPackage() finds links, special files and names that mean two things", async () => {
  await withFolder(async (folder) => {
    await Deno.mkdir(`${folder}/lib`);
    await Deno.mkdir(`${folder}/Lib`);
    await Deno.mkdir(`${folder}/node_modules`);
    await Deno.symlink("/etc/passwd", `${folder}/link.ts`);
    await Deno.symlink("/nowhere", `${folder}/lib/dangling`);
    await Deno.symlink("/", `${folder}/.git`);
    await run("mkfifo", `${folder}/lib/pipe`);
    await Deno.writeTextFile(`${folder}/caf\u00e9`, "");
    await Deno.writeTextFile(`${folder}/cafe\u0301`, "");
    await Deno.writeTextFile(`${folder}/line\nbreak`, "");
    await Deno.writeTextFile(`${folder}/back\\slash`, "");
    await run("sh", "-c", `: > "$(printf '%s/bad\\377' '${folder}')"`);
    const { faults } = await listPackage(folder, { ...limits, filesMax: 100 }, (name) => name === ".git");
    assert.deepEqual(
      faults.sort(),
      [
        '".git" is a link',
        `"caf\u00e9" and "cafe\u0301" are one name on some systems`,
        '"lib" and "Lib" are one name on some systems',
        '"lib/dangling" is a link',
        '"lib/pipe" is neither a file nor a folder',
        '"link.ts" is a link',
        '"node_modules" cannot be in a package: bundle what the plugin imports',
        'The name "back\\\\slash" has a control character, a backslash or no valid UTF-8',
        'The name "bad\ufffd" has a control character, a backslash or no valid UTF-8',
        'The name "line\\nbreak" has a control character, a backslash or no valid UTF-8',
      ].sort(),
    );
  });
});

Deno.test("listPackage() stops at each limit", async () => {
  const rows: [make: (folder: string) => Promise<void>, fault: RegExp][] = [
    [async (folder) => {
      for (let i = 0; i < 11; i++) await Deno.writeTextFile(`${folder}/${i}`, "");
    }, /more than 10 files/],
    [(folder) => Deno.writeFile(`${folder}/a`, new Uint8Array(1_001)), /more than 1000 bytes/],
    [
      (folder) => Deno.mkdir(`${folder}/${"d/".repeat(40)}`, { recursive: true }),
      /too many folders|deeper than/,
    ],
    [
      (folder) => Deno.mkdir(`${folder}/${`${"d".repeat(200)}/`.repeat(6)}`, { recursive: true }),
      /longer than 1024/,
    ],
    [async (folder) => {
      for (let i = 0; i < 30; i++) await Deno.mkdir(`${folder}/${i}`);
    }, /too many folders/],
  ];
  for (const [make, fault] of rows) {
    await withFolder(async (folder) => {
      await make(folder);
      const listing = await listPackage(folder, limits);
      assert.match(listing.faults.join(), fault);
      assert.ok(!listing.complete);
    });
  }
});

Deno.test("listPackage() refuses a folder that is a link or a file", async () => {
  await withFolder(async (folder) => {
    await Deno.symlink("/etc", `${folder}/link`);
    await Deno.writeTextFile(`${folder}/file`, "");
    assert.deepEqual((await listPackage(`${folder}/link`, limits)).faults, ["The folder is a link"]);
    assert.deepEqual((await listPackage(`${folder}/file`, limits)).faults, ["There is no folder here"]);
  });
});

// Somebody who can write to the folder acts between the look and the read.
Deno.test("readListedFile() refuses what was swapped since it was listed", async () => {
  // Under `-A` the open itself refuses a link; under a list of paths Deno follows it first.
  const linkRefused = /was swapped|cannot be opened/;
  const swaps: [name: string, swap: (folder: string) => Promise<void>, fault: RegExp][] = [
    ["for a link", async (folder) => {
      await Deno.remove(`${folder}/lib/a`);
      await Deno.symlink("/etc/passwd", `${folder}/lib/a`);
    }, linkRefused],
    ["for a link to itself", async (folder) => {
      await Deno.rename(`${folder}/lib/a`, `${folder}/moved`);
      await Deno.symlink(`${folder}/moved`, `${folder}/lib/a`);
    }, linkRefused],
    ["its folder for a link", async (folder) => {
      await Deno.rename(`${folder}/lib`, `${folder}/moved`);
      await Deno.symlink(`${folder}/moved`, `${folder}/lib`);
    }, /was swapped/],
    ["for another file", async (folder) => {
      await Deno.writeTextFile(`${folder}/other`, "abc");
      await Deno.rename(`${folder}/other`, `${folder}/lib/a`);
    }, /was swapped/],
    ["for a pipe", async (folder) => {
      await Deno.remove(`${folder}/lib/a`);
      await run("mkfifo", `${folder}/lib/a`);
    }, /was swapped/],
    ["for a longer text", (folder) => Deno.writeTextFile(`${folder}/lib/a`, "abcd"), /changed/],
    ["for a shorter text", (folder) => Deno.writeTextFile(`${folder}/lib/a`, "ab"), /changed/],
    ["for nothing", (folder) => Deno.remove(`${folder}/lib/a`), /cannot be opened/],
  ];
  for (const [name, swap, fault] of swaps) {
    await withFolder(async (folder) => {
      await Deno.mkdir(`${folder}/lib`);
      await Deno.writeTextFile(`${folder}/lib/a`, "abc");
      const { root, files } = await listPackage(folder, limits);
      await swap(folder);
      const read = await readListedFile(root, files[0]);
      assert.ok(!read.ok, name);
      assert.match(read.message, fault, name);
    });
  }
});

import { deepEqual, equal, match, ok } from "node:assert/strict";
import { temporaryFolder } from "./testing_tiers.ts";
import { measureFolder } from "./folder_use.ts";
import { Pace } from "./pace.ts";

const megabyte = 1_048_576;
const megabyteOfOnes = new Uint8Array(megabyte).fill(1);

async function measure(folder: string, bounds: { bytesMax?: number; filesMax?: number } = {}) {
  return await measureFolder(folder, {
    ...{ bytesMax: Infinity, filesMax: Infinity, processes: [], pace: new Pace() },
    ...{ signal: new AbortController().signal, ...bounds },
  });
}

Deno.test("measureFolder() counts entries and blocks at every depth", async () => {
  await using folder = await temporaryFolder();
  Deno.mkdirSync(`${folder.path}/a/b`, { recursive: true });
  Deno.writeFileSync(`${folder.path}/a/b/file`, megabyteOfOnes);
  Deno.writeTextFileSync(`${folder.path}/a/small`, "x");
  const { bytes, files, fault } = await measure(folder.path);
  deepEqual([files, fault], [4, undefined]);
  ok(bytes >= megabyte && bytes < 1.1 * megabyte, `${bytes}`);
});

Deno.test("measureFolder() counts what a file takes, not what it says; and each file once", async () => {
  await using folder = await temporaryFolder();
  Deno.writeTextFileSync(`${folder.path}/sparse`, "");
  Deno.truncateSync(`${folder.path}/sparse`, 1_000 * megabyte);
  Deno.writeFileSync(`${folder.path}/file`, megabyteOfOnes);
  for (const name of ["1", "2", "3"]) Deno.linkSync(`${folder.path}/file`, `${folder.path}/${name}`);
  const { bytes, files } = await measure(folder.path);
  equal(files, 5);
  ok(bytes >= megabyte && bytes < 1.1 * megabyte, `${bytes}`);
});

Deno.test("measureFolder() follows no link", async () => {
  await using folder = await temporaryFolder();
  Deno.symlinkSync("/", `${folder.path}/root`);
  Deno.symlinkSync(folder.path, `${folder.path}/self`);
  Deno.symlinkSync("/none", `${folder.path}/none`);
  const { bytes, files, fault } = await measure(folder.path);
  deepEqual([files, fault], [3, undefined]);
  ok(bytes < megabyte);
});

Deno.test("measureFolder() stops where a bound is crossed", async () => {
  await using folder = await temporaryFolder();
  for (let at = 0; at < 100; at++) Deno.writeTextFileSync(`${folder.path}/${at}`, "");
  equal((await measure(folder.path, { filesMax: 10 })).files, 11);
  for (let at = 0; at < 4; at++) Deno.writeFileSync(`${folder.path}/large${at}`, megabyteOfOnes);
  const { bytes } = await measure(folder.path, { bytesMax: megabyte });
  ok(bytes > megabyte && bytes < 3 * megabyte, `${bytes}`);
});

Deno.test("measureFolder() says why a folder cannot be counted to its end", async () => {
  await using folder = await temporaryFolder();
  Deno.mkdirSync(`${folder.path}/${Array(70).fill("d").join("/")}`, { recursive: true });
  match((await measure(folder.path)).fault ?? "", /nested more than 64 deep/);
  await using other = await temporaryFolder();
  let path = other.path;
  // Longer than a path may be: whoever fills it goes step by step.
  const start = Deno.cwd();
  for (let depth = 0; depth < 20; depth++) {
    Deno.chdir(path);
    path = "n".repeat(250);
    Deno.mkdirSync(path);
  }
  Deno.chdir(start);
  match((await measure(other.path)).fault ?? "", /cannot be read/);
});

Deno.test("measureFolder() does not overlook a file whose name is not UTF-8", async () => {
  await using folder = await temporaryFolder();
  Deno.writeTextFileSync(`${folder.path}/a \ufffd of its own`, "");
  equal((await measure(folder.path)).fault, undefined);
  const code = `printf x > "$(printf 'a\\377b')"`;
  await new Deno.Command("sh", { args: ["-c", code], cwd: folder.path }).output();
  match((await measure(folder.path)).fault ?? "", /is not UTF-8$/);
});

Deno.test("measureFolder() takes a folder that is gone for an empty one", async () => {
  deepEqual(await measure("/none/at/all"), { bytes: 0, files: 0, fault: undefined });
});

Deno.test("measureFolder() does not hold up the event loop, and ends when it is told to", async () => {
  await using folder = await temporaryFolder();
  for (let at = 0; at < 5_000; at++) Deno.writeTextFileSync(`${folder.path}/${at}`, "");
  const stop = new AbortController();
  let turns = 0;
  const timer = setInterval(() => {
    if (++turns === 3) stop.abort();
  }, 1);
  const { files } = await measureFolder(folder.path, {
    ...{ bytesMax: Infinity, filesMax: Infinity, processes: [], pace: new Pace(), signal: stop.signal },
  });
  clearInterval(timer);
  ok(turns >= 3 && files < 5_000, `${turns} turns, ${files} files`);
});

import { deepEqual, equal, match, throws } from "node:assert/strict";
import { findExchanged, grantedFiles } from "./granted_files.ts";
import { dataDir, describeCell, packageDir } from "./testing_cell.ts";
import { TestingCells } from "./testing_cells.ts";
import { temporaryFolder, testSealed } from "./testing_tiers.ts";

Deno.test("grantedFiles() knows what a sealed cell is granted beside its own folders", async () => {
  await using folder = await temporaryFolder();
  const { path } = folder;
  const grants = { read: [packageDir, dataDir, path], write: [dataDir, path] };
  deepEqual([...grantedFiles(describeCell("sealed", grants)).keys()], [path]);
  deepEqual([...grantedFiles(describeCell("process", grants)).keys()], []);
  throws(
    () => grantedFiles(describeCell("sealed", { read: [`${path}/none`] })),
    /^Error: Cannot grant ".*none": it changed while it was looked at$/,
  );
});

Deno.test("findExchanged() finds a file by that path that is another, or a link, or none", async () => {
  await using folder = await temporaryFolder();
  const path = `${folder.path}/a`;
  Deno.mkdirSync(path);
  const files = grantedFiles(describeCell("sealed", { read: [path] }));
  equal(findExchanged(Deno.pid, files), undefined);
  Deno.renameSync(path, `${folder.path}/b`);
  equal(findExchanged(Deno.pid, files), path);
  Deno.symlinkSync("b", path);
  equal(findExchanged(Deno.pid, files), path);
  Deno.removeSync(path);
  Deno.mkdirSync(path);
  equal(findExchanged(Deno.pid, files), path);
});

Deno.test("grantedFiles() does not pass through a link", async () => {
  await using folder = await temporaryFolder();
  Deno.mkdirSync(`${folder.path}/a/b`, { recursive: true });
  Deno.symlinkSync("a", `${folder.path}/link`);
  throws(() => grantedFiles(describeCell("sealed", { read: [`${folder.path}/link/b`] })), /it changed while/);
});

const source = `export const actions = { run: ({ path }) => Deno.readTextFileSync(path) };`;

testSealed("Cells starts a sealed cell over the files it was granted", async () => {
  await using cells = await TestingCells.create();
  await using folder = await temporaryFolder();
  Deno.writeTextFileSync(`${folder.path}/file`, "mine");
  const grants = { read: [folder.path, `${cells.root}/data/packages/c1`] };
  const cell = cells.start({ tier: "sealed", source, grants });
  equal(await cell.call("run", { path: `${folder.path}/file` }), "mine");
});

testSealed("Cells ends a cell whose granted folder was exchanged after the check", async () => {
  await using cells = await TestingCells.create();
  await using folder = await temporaryFolder();
  const granted = `${folder.path}/granted`;
  for (const name of ["granted", "secret"]) Deno.mkdirSync(`${folder.path}/${name}`);
  const cell = cells.start({ tier: "sealed", source, grants: { read: [granted] } });
  // The wrapper is on its way to the folder.
  Deno.renameSync(granted, `${folder.path}/was`);
  Deno.symlinkSync("secret", granted);
  const { killed, detail } = await cell.ended;
  equal(killed, null);
  match(detail, /^Cannot start cell "c1": ".*\/granted" is not the file that was granted/);
  deepEqual(cells.logged.splice(0), [detail]);
});

/**
 * Symlinks and path tricks: files outside, by every name they have.
 *
 * @module
 */
import { join } from "node:path";
import { equal } from "node:assert/strict";
import type { Aim } from "../guest/attacker.ts";
import { type AttackRow, notHeld, type PackageRow, type Row, rowsOf } from "../row.ts";
import type { World } from "../world.ts";
import { packageFiles } from "./package_files.ts";

const denied = "throws NotCapable";

const outside: AttackRow[] = [
  {
    name: "read a file outside, by every spelling of its path",
    by: "bare",
    attack: ({ canary }, t) => {
      const name = canary.slice(1);
      const paths: (string | URL)[] = [
        ...[canary, `/${canary}`, `/.${canary}`, canary.replaceAll("/", "//"), `${canary}/../canary`],
        ...[
          `${t.data}/../../../../../../../../../../${name}`,
          `${t.ctx.packageDir}/../../../../../../../${name}`,
        ],
        ...[
          new URL(`file://${canary}`),
          new URL(`file://localhost/${name}`),
          new URL(`file:///%2e%2e/${name}`),
        ],
        ...[`${"../".repeat(20)}${name}`, `${t.data}/./././../../../../../../../../../../${name}`],
      ];
      return t.each(paths.map((path) => () => Deno.readTextFileSync(path)));
    },
    expected: denied,
  },
  {
    name: "read a file outside by fetch of a file: URL",
    by: "bare",
    attack: ({ canary }, t) =>
      t.each(
        [`file://${canary}`, `file://localhost${canary}`].map((url) => async () => (await fetch(url)).text()),
      ),
    expected: denied,
  },
  {
    name: "see whether a file outside exists, its size, its target, what is beside it",
    by: "bare",
    attack: ({ canary, outside }, t) =>
      t.each([
        () => Deno.statSync(canary).size,
        () => Deno.lstatSync(`${canary}-not-there`).size,
        () => Deno.realPathSync(canary),
        () => Deno.readLinkSync(canary),
        () => [...Deno.readDirSync(outside)].length,
        () => Deno.watchFs(outside).close(),
      ]),
    expected: denied,
  },
  {
    name: "write, append to, truncate, create and open for writing outside",
    by: "bare",
    attack: ({ canary, outside, plants }, t) =>
      t.each([
        () => Deno.writeTextFileSync(canary, "x"),
        () => Deno.writeTextFileSync(canary, "x", { append: true }),
        () => Deno.truncateSync(canary),
        () => Deno.openSync(canary, { write: true, truncate: true }).close(),
        () => Deno.openSync(`${outside}/made`, { write: true, create: true }).close(),
        () => Deno.createSync(`${outside}/made`).close(),
        () => Deno.mkdirSync(`${outside}/folder`),
        () => Deno.makeTempFileSync({ dir: outside }),
        ...plants.map((path) => () => Deno.writeTextFileSync(path, "x")),
      ]),
    expected: denied,
  },
  {
    name: "remove, rename, copy, own, date and change the mode of a file outside",
    by: "bare",
    attack: ({ canary, outside }, t) => {
      Deno.writeTextFileSync(`${t.data}/mine`, "x");
      return t.each([
        () => Deno.removeSync(canary),
        () => Deno.removeSync(outside, { recursive: true }),
        () => Deno.renameSync(canary, `${t.data}/taken`),
        () => Deno.renameSync(`${t.data}/mine`, canary),
        () => Deno.copyFileSync(canary, `${t.data}/taken`),
        () => Deno.copyFileSync(`${t.data}/mine`, canary),
        () => Deno.chmodSync(canary, 0o777),
        () => Deno.chownSync(canary, 65_534, 65_534),
        () => Deno.utimeSync(canary, 0, 0),
      ]);
    },
    expected: denied,
  },
  {
    name: "make a link in the private folder to a file outside",
    advisories: ["CVE-2021-41641"],
    by: "bare",
    attack: ({ canary, outside }, t) =>
      t.each([
        () => Deno.symlinkSync(canary, `${t.data}/link`),
        () => Deno.symlinkSync(outside, `${t.data}/folder`, { type: "dir" }),
        () => Deno.symlinkSync("../../airlock.db", `${t.data}/relative`),
        () => Deno.linkSync(canary, `${t.data}/hard`),
      ]),
    expected: denied,
  },
  {
    name: "make a link in a granted folder to a file outside",
    advisories: ["CVE-2021-41641"],
    by: "granted",
    attack: ({ canary, shared }, t) =>
      t.each([
        () => Deno.symlinkSync(canary, `${shared}/link`),
        () => Deno.linkSync(canary, `${shared}/hard`),
      ]),
    expected: denied,
  },
  {
    name: "reach what lies beside a granted folder",
    by: "granted",
    attack: ({ canary, outside, shared }, t) =>
      t.each([
        () => Deno.readTextFileSync(`${shared}/../outside/canary`),
        () => Deno.readTextFileSync(`${shared}/deep/../../outside/canary`),
        () => Deno.readTextFileSync(canary),
        () => Deno.writeTextFileSync(`${shared}/../outside/made`, "x"),
        () => Deno.writeTextFileSync(`${shared}2`, "x"),
        () => Deno.renameSync(`${shared}/note`, `${outside}/note`),
        () => Deno.readDirSync(`${shared}/..`).next(),
        () => Deno.chdir(outside),
      ]),
    expected: denied,
  },
  {
    name: "read another plugin's private folder, Airlock's token and its database",
    by: "bare",
    attack: ({ dataDir, neighbourData, token }, t) =>
      t.each(
        [
          ...[
            `${neighbourData}/secret`,
            `${t.data}/../neighbour/secret`,
            token,
            `${t.data}/../../admin.token`,
          ],
          ...["airlock.db", "commitments.db", "ledger/signing.key", "warden.lock", "run"].map((name) =>
            `${dataDir}/${name}`
          ),
        ].map((path) => () => Deno.readTextFileSync(path)),
      ),
    expected: denied,
  },
  {
    name: "change its own package",
    by: "bare",
    attack: (_aim, t) =>
      t.each([
        () => Deno.writeTextFileSync(`${t.ctx.packageDir}/mod.ts`, "export const actions = {};"),
        () => Deno.writeTextFileSync(`${t.ctx.packageDir}/new.ts`, ""),
        () => Deno.removeSync(`${t.ctx.packageDir}/mod.ts`),
        () => Deno.renameSync(t.ctx.packageDir, `${t.data}/package`),
        () => Deno.chmodSync(t.ctx.packageDir, 0o777),
      ]),
    expected: denied,
  },
  {
    name: "reach a file outside through SQLite: open, ATTACH, VACUUM INTO",
    advisories: ["CVE-2025-48935"],
    by: "bare",
    attack: async ({ canary, outside }, t) => {
      const { DatabaseSync } = await import("node:sqlite");
      const run = (sql: string) => new DatabaseSync(":memory:").exec(sql);
      const outcomes = await t.each([
        () => new DatabaseSync(canary),
        () => new DatabaseSync(`file:${canary}?mode=ro`),
        () => run(`ATTACH '${outside}/made.db' AS made; CREATE TABLE made.t (x)`),
        () => run(`ATTACH 'file:${outside}/made.db' AS made; CREATE TABLE made.t (x)`),
        () => run(`CREATE TABLE t (x); VACUUM INTO '${outside}/made.db'`),
      ]).catch((error) => `throws ${error.name}`);
      return JSON.stringify(outcomes).includes("gives") ? outcomes : "refused";
    },
    expected: 'gives "refused"',
  },
  {
    name: "have SQLite put its temporary files into a folder outside",
    by: "bare",
    spoils: true,
    attack: async ({ outside }) => {
      const { DatabaseSync } = await import("node:sqlite");
      const database = new DatabaseSync(":memory:");
      database.exec(
        `PRAGMA temp_store_directory = '${outside}'; PRAGMA temp_store = FILE; PRAGMA cache_size = 1;
        CREATE TEMP TABLE t (x); PRAGMA temp.cache_size = 1;
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
        INSERT INTO t SELECT randomblob(1000) FROM n;`,
      );
      return "written";
    },
    expected: {
      process: notHeld(
        'gives "written"',
        "Deno does not look at this setting of SQLite's, which may name any folder that the user may write",
        "touched",
      ),
      sealed: "throws ERR_SQLITE_ERROR",
    },
  },
  {
    name: "leave a program with the set-user-id bit in the private folder, for other users of the machine",
    by: "bare",
    attack: (_aim, t) => {
      Deno.writeTextFileSync(`${t.data}/program`, "#!/bin/sh\n");
      Deno.chmodSync(`${t.data}/program`, 0o4755);
      Deno.chmodSync(t.data, 0o755);
      return "made";
    },
    expected: 'gives "made"',
    // No other user comes as far as the file.
    verify: ({ aim }) => {
      const folders = [aim.dataDir, `${aim.dataDir}/plugins`, `${aim.dataDir}/plugins/bare`];
      const isClosed = folders.some((path) => ((Deno.statSync(path).mode ?? 0) & 0o011) === 0);
      Deno.chmodSync(`${aim.dataDir}/plugins/bare`, 0o700);
      return isClosed ? undefined : "every user can run it";
    },
  },
];

/** Puts a link to the canary at `path`, as somebody else on the machine might. */
async function plantLink(path: string, target: string): Promise<() => Promise<void>> {
  await Deno.symlink(target, path);
  return () => Deno.remove(path);
}

/** Moves the shared folder's `deep` away and puts a link to the folder outside in its place. */
async function turnDeep({ aim }: World): Promise<void> {
  await Deno.remove(`${aim.shared}/deep`);
  await Deno.symlink(aim.outside, `${aim.shared}/deep`);
}

async function restoreDeep({ aim }: World): Promise<() => Promise<void>> {
  equal((await Deno.lstat(`${aim.shared}/deep`)).isDirectory, true);
  return async () => {
    await Deno.remove(`${aim.shared}/deep`);
    await Deno.mkdir(`${aim.shared}/deep`);
  };
}

const links: AttackRow[] = [
  {
    name: "read through a link that somebody else put into the private folder",
    by: "bare",
    prepare: ({ aim }) => plantLink(`${aim.dataDir}/plugins/bare/door`, aim.canary),
    attack: (_aim, t) => Deno.readTextFileSync(`${t.data}/door`),
    expected: {
      process: notHeld(
        'gives "<canary>"',
        "Deno follows a link inside a granted folder; no plugin can make one",
        "told",
      ),
      sealed: "throws NotFound",
    },
  },
  {
    name: "read through a link in a granted folder that leads out of it",
    by: "grantee",
    prepare: ({ aim }) => plantLink(`${aim.shared}/door`, aim.canary),
    grants: ({ shared }) => ({ read: [shared] }),
    attack: ({ shared }) => Deno.readTextFileSync(`${shared}/door`),
    expected: { process: "fails GRANT_REFUSED", sealed: "throws NotFound" },
  },
  {
    name: "write through a link in a granted folder that leads out of it",
    by: "grantee",
    prepare: ({ aim }) => plantLink(`${aim.shared}/door`, aim.canary),
    grants: ({ shared }) => ({ read: [shared], write: [shared] }),
    attack: ({ shared }) => Deno.writeTextFileSync(`${shared}/door`, "written"),
    expected: { process: "fails GRANT_REFUSED", sealed: "throws NotFound" },
  },
  {
    name: "a grant of a path that is a link",
    by: "grantee",
    prepare: ({ aim }) => plantLink(`${aim.shared}/door`, aim.outside),
    grants: ({ shared }) => ({ read: [`${shared}/door`] }),
    attack: ({ shared }) => Deno.readTextFileSync(`${shared}/door/canary`),
    expected: "fails GRANT_REFUSED",
  },
  {
    name: "a grant of a path that passes through a link",
    by: "grantee",
    prepare: ({ aim }) => plantLink(`${aim.shared}/door`, aim.outside),
    grants: ({ shared }) => ({ read: [`${shared}/door/canary`], write: [`${shared}/door/canary`] }),
    attack: ({ shared }) => Deno.readTextFileSync(`${shared}/door/canary`),
    expected: "fails GRANT_REFUSED",
  },
  {
    name: "a granted folder that becomes a link between the grant and the start",
    by: "grantee",
    prepare: restoreDeep,
    grants: ({ shared }) => ({ read: [`${shared}/deep`], write: [`${shared}/deep`] }),
    afterGrants: turnDeep,
    attack: ({ shared }) => Deno.readTextFileSync(`${shared}/deep/canary`),
    expected: "fails PLUGIN_START_FAILED",
  },
];

/** Grants that an operator might be talked into. */
const refusedPaths: readonly (readonly [what: string, path: (aim: Aim) => string])[] = [
  ["everything", () => "/"],
  ["/proc", () => "/proc/self"],
  ["/dev", () => "/dev/shm"],
  ["/sys", () => "/sys/kernel"],
  ["Airlock's data folder", ({ dataDir }) => dataDir],
  ["what lies above Airlock's data folder", ({ dataDir }) => join(dataDir, "..")],
  ["Airlock's own code", () => new URL("../../../sandbox/dist", import.meta.url).pathname],
  ["the folder of the cells' socket", ({ runFolder }) => runFolder],
  ["another plugin's private folder", ({ neighbourData }) => neighbourData],
  ["another plugin's private folder, by way of its own", () => "${data}/../neighbour"],
  ["a path with ..", ({ shared }) => `${shared}/../outside`],
  ["a path with a doubled slash", ({ shared }) => `${shared}//deep`],
  ["two paths in one, by a comma", ({ shared, outside }) => `${shared},${outside}`],
  ["a pattern", ({ shared }) => `${shared}/*`],
  ["a relative path", () => "../outside"],
  ["a flag of the command line", () => "--allow-all"],
];

/** What does not even fit the schema of grants. */
const malformedPaths: readonly (readonly [what: string, path: (aim: Aim) => string])[] = [
  ["two paths in one, by a line break", ({ shared, outside }) => `${shared}\n${outside}`],
  ["a path with NUL", ({ shared }) => `${shared}\0/x`],
];

const grants: AttackRow[] = [
  ...refusedPaths.map((row) => [...row, "fails GRANT_REFUSED"] as const),
  ...malformedPaths.map((row) => [...row, "fails INPUT_INVALID"] as const),
].map(([what, path, expected]): AttackRow => ({
  name: `a grant of ${what}`,
  by: "grantee",
  grants: (aim) => ({ read: [path(aim)], write: [path(aim)] }),
  attack: ({ canary }) => Deno.readTextFileSync(canary),
  expected,
  ...(what === "everything" ? { advisories: ["CVE-2025-48888"] } : {}),
  says: /\/read\/0.*\/write\/0/,
}));

const packages: PackageRow[] = ([
  ["a link to a file outside", (folder, { canary }) => Deno.symlink(canary, `${folder}/canary`)],
  ["a link to a folder outside", (folder, { outside }) => Deno.symlink(outside, `${folder}/folder`)],
  ["a link to a file of its own", (folder) => Deno.symlink("mod.ts", `${folder}/other.ts`)],
  ["a link that leads nowhere", (folder) => Deno.symlink("nowhere", `${folder}/dangling`)],
  ["a link in the place of its module", async (folder, { outside }) => {
    await Deno.remove(`${folder}/mod.ts`);
    await Deno.symlink(`${outside}/code.js`, `${folder}/mod.ts`);
  }],
  ["a fifo", async (folder) => {
    equal((await new Deno.Command("mkfifo", { args: [`${folder}/fifo`] }).output()).code, 0);
  }],
  ["a name with a line break", (folder) => Deno.writeTextFile(`${folder}/a\nb.ts`, "")],
  ["a name with a backslash", (folder) => Deno.writeTextFile(`${folder}/a\\b.ts`, "")],
  ["two names that some file systems take for one", async (folder) => {
    await Deno.writeTextFile(`${folder}/a.ts`, "");
    await Deno.writeTextFile(`${folder}/A.ts`, "");
  }],
] satisfies [string, NonNullable<PackageRow["tamper"]>][]).map(([what, tamper]) => ({
  name: `a package with ${what}`,
  files: (id) => packageFiles(id, "export const actions = { run: () => 1 };"),
  tamper,
  expected: "fails PLUGIN_REJECTED",
}));

export const pathRows: Row[] = rowsOf("symlinks and path tricks", [
  ...outside,
  ...links,
  ...grants,
  ...packages,
]);

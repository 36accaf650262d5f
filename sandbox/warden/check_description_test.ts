import { doesNotThrow, throws } from "node:assert/strict";
import type { Grants } from "../../schemas/capabilities.ts";
import { checkDescription } from "./check_description.ts";
import { describeCell } from "./testing_cell.ts";

interface Places extends AsyncDisposable {
  readonly root: string;
  check(grants: Partial<Grants>, folders?: { packageDir?: string; dataDir?: string }): void;
}

/** Real folders: Airlock's own, one package and one plugin in them, and what lies beside. */
async function makePlaces(): Promise<Places> {
  const root = await Deno.realPath(await Deno.makeTempDir({ prefix: "places-" }));
  const own = { dataDir: `${root}/data`, codeDir: `${root}/code`, runFolder: `${root}/run` };
  const folders = ["data/packages/ab", "data/plugins/echo", "data/plugins/other", "code", "run/1a", "srv/a"];
  for (const folder of folders) await Deno.mkdir(`${root}/${folder}`, { recursive: true });
  for (const file of ["data/admin.token", "data/packages/ab/lib.so", "run/s", "srv/a/file"]) {
    await Deno.writeTextFile(`${root}/${file}`, "");
  }
  await Deno.symlink(`${root}/data`, `${root}/srv/data`);
  await Deno.symlink(`${root}/srv/a`, `${root}/srv/link`);
  await Deno.symlink(`${root}/data/plugins/other`, `${root}/data/plugins/linked`);
  const packageDir = `${own.dataDir}/packages/ab`;
  const dataDir = `${own.dataDir}/plugins/echo`;
  return {
    root,
    check(grants, given = {}) {
      const description = describeCell("sealed", {
        read: [packageDir, dataDir],
        write: [dataDir],
        ...grants,
      });
      checkDescription({ ...description, packageDir, dataDir, ...given }, own);
    },
    async [Symbol.asyncDispose]() {
      await Deno.remove(root, { recursive: true });
    },
  };
}

Deno.test("checkDescription() takes a plugin's own folders, and paths that are what they say", async () => {
  await using places = await makePlaces();
  const { root } = places;
  doesNotThrow(() => places.check({}));
  doesNotThrow(() =>
    places.check({ read: [`${root}/srv/a`, `${root}/srv/a/file`], write: [`${root}/srv/a`] })
  );
  doesNotThrow(() => places.check({ ffi: [`${root}/data/packages/ab/lib.so`] }));
});

Deno.test("checkDescription() refuses Airlock's own files, from above, from inside and through a link", async () => {
  await using places = await makePlaces();
  const own = [
    "data",
    "data/admin.token",
    "data/plugins",
    "data/plugins/other",
    "code",
    "run",
    "run/s",
    "run/1a",
  ];
  for (const path of [places.root, ...own.map((name) => `${places.root}/${name}`), "/"]) {
    for (const kind of ["read", "write", "run", "ffi"]) {
      throws(
        () => places.check({ [kind]: [path] }),
        /own files could be reached|a package does not change/,
        path,
      );
    }
  }
  for (const path of [`${places.root}/srv/data`, `${places.root}/srv/data/admin.token`]) {
    throws(() => places.check({ read: [path] }), /it leads to/);
  }
});

Deno.test("checkDescription() refuses a path that is a link, has a detour or does not exist", async () => {
  await using places = await makePlaces();
  const { root } = places;
  for (const path of ["srv/link", "srv/link/file", "srv/../srv/a", "srv/a/", "srv//a"]) {
    throws(() => places.check({ read: [`${root}/${path}`] }), /it leads to/, path);
  }
  throws(() => places.check({ read: [`${root}/srv/nothing`] }), /does not exist/);
});

Deno.test("checkDescription() refuses a write into the package, and folders that are not one level down", async () => {
  await using places = await makePlaces();
  const { root } = places;
  throws(() => places.check({ write: [`${root}/data/packages/ab`] }), /a package does not change/);
  throws(() => places.check({ write: [`${root}/data/packages/ab/lib.so`] }), /a package does not change/);
  for (const dataDir of ["data/plugins", "data/plugins/linked", "data", "data/plugins/echo/..", "srv/a"]) {
    throws(() => places.check({}, { dataDir: `${root}/${dataDir}` }), /Cannot (?:start|grant)/, dataDir);
  }
  throws(() => places.check({}, { packageDir: `${root}/srv/a` }), /Cannot start a cell over/);
});

import { doesNotReject, rejects } from "node:assert/strict";
import { temporaryFolder } from "./testing_tiers.ts";
import type { Grants } from "../../schemas/capabilities.ts";
import { checkGrantedLinks } from "./granted_links.ts";
import { Pace } from "./pace.ts";
import { describeCell } from "./testing_cell.ts";

async function makeFolders() {
  const { path: root, [Symbol.asyncDispose]: dispose } = await temporaryFolder();
  for (const folder of ["package", "data", "srv/a/inner", "srv/b", "secret"]) {
    Deno.mkdirSync(`${root}/${folder}`, { recursive: true });
  }
  Deno.writeTextFileSync(`${root}/secret/file`, "");
  Deno.writeTextFileSync(`${root}/srv/a/file`, "");
  return {
    root,
    link: (target: string, name: string) => Deno.symlinkSync(target, `${root}/${name}`),
    async check(grants: Partial<Grants>, entriesMax = 100) {
      const packageDir = `${root}/package`;
      const read = [packageDir, `${root}/data`, ...grants.read ?? []];
      const write = [`${root}/data`, ...grants.write ?? []];
      const description = describeCell("process", { ...grants, read, write });
      await checkGrantedLinks({ ...description, packageDir }, { entriesMax, pace: new Pace() });
    },
    [Symbol.asyncDispose]: dispose,
  };
}

Deno.test("checkGrantedLinks() takes links that stay in the folder they lie in", async () => {
  await using folders = await makeFolders();
  const { root } = folders;
  folders.link("file", "srv/a/relative");
  folders.link(`${root}/srv/a`, "srv/a/inner/absolute");
  folders.link("../file", "srv/a/inner/up");
  await doesNotReject(() => folders.check({ read: [`${root}/srv/a`] }));
  await doesNotReject(() => folders.check({ read: [`${root}/srv/a/file`] }));
});

Deno.test("checkGrantedLinks() refuses a link that leads out, by its name, at any depth", async () => {
  for (const target of ["/etc/passwd", "../../../secret/file", "../../../secret"]) {
    for (const kind of ["read", "write"]) {
      await using folders = await makeFolders();
      folders.link(target, "srv/a/inner/out");
      const message =
        /^Error: Cannot grant ".*\/srv\/a": the link ".*\/srv\/a\/inner\/out" leads out of it, to /;
      await rejects(() => folders.check({ [kind]: [`${folders.root}/srv/a`] }), message, target);
    }
  }
});

Deno.test("checkGrantedLinks() refuses a link out of the private folder", async () => {
  await using folders = await makeFolders();
  folders.link("../secret", "data/out");
  await rejects(() => folders.check({}), /leads out of it.*Remove it, or run the plugin in the sealed tier/);
});

// A write through such a link makes the file.
Deno.test("checkGrantedLinks() refuses a link that leads nowhere, and one that leads to itself", async () => {
  for (const target of ["../../secret/none", "out"]) {
    await using folders = await makeFolders();
    folders.link(target, "srv/a/out");
    await rejects(() => folders.check({ write: [`${folders.root}/srv/a`] }), /leads nowhere/);
  }
});

// What may be written there may be only read here.
Deno.test("checkGrantedLinks() refuses a link from one granted folder into another", async () => {
  await using folders = await makeFolders();
  const { root } = folders;
  folders.link("../a/file", "srv/b/other");
  await rejects(() => folders.check({ read: [`${root}/srv/a`], write: [`${root}/srv/b`] }), /leads out/);
});

Deno.test("checkGrantedLinks() refuses a link out of a granted folder into the one around it", async () => {
  await using folders = await makeFolders();
  const { root } = folders;
  folders.link("../file", "srv/a/inner/read_only");
  await doesNotReject(() => folders.check({ read: [`${root}/srv/a`] }));
  await rejects(
    () => folders.check({ read: [`${root}/srv/a`], write: [`${root}/srv/a/inner`] }),
    /leads out/,
  );
});

Deno.test("checkGrantedLinks() does not look through more files than it may", async () => {
  await using folders = await makeFolders();
  for (let at = 0; at < 101; at++) Deno.writeTextFileSync(`${folders.root}/srv/b/${at}`, "");
  await rejects(
    () => folders.check({ read: [`${folders.root}/srv/b`] }),
    /more than 100 files to look at for links\. Grant a smaller folder, raise cells\.grantEntriesMax/,
  );
  await doesNotReject(() => folders.check({ read: [`${folders.root}/srv/b`] }, 101));
});

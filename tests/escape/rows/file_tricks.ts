/**
 * Path tricks with what is granted: a prefix, an open file, a package of the plugin's own making, another
 * spelling of a name.
 *
 * @module
 */
import { type AttackRow, notHeld, type Row, rowsOf } from "../row.ts";
import type { World } from "../world.ts";

const refused = 'gives "refused"';

/** Gives the code outside its mode again. */
function restoreMode({ aim }: World): Promise<() => Promise<void>> {
  return Promise.resolve(() => Deno.chmod(`${aim.outside}/code.js`, 0o644));
}

const attacks: AttackRow[] = [
  {
    name: "temporary files whose prefix or suffix leads out of a granted folder",
    by: "granted",
    advisories: ["CVE-2024-27931"],
    attack: ({ shared, plants }, t) =>
      t.refused([
        () => Deno.makeTempFileSync({ dir: shared, prefix: "../outside/" }),
        () => Deno.makeTempDirSync({ dir: shared, prefix: "../outside/" }),
        () => Deno.makeTempFileSync({ dir: shared, suffix: "/../../outside/made" }),
        () => Deno.makeTempFileSync({ dir: `${shared}/../outside` }),
        () => Deno.makeTempFile({ dir: shared, prefix: `../../../../..${plants[0]}` }),
        async () => (await import("node:fs")).mkdtempSync(`${shared}/../outside/made`),
      ]),
    expected: refused,
  },
  {
    name: "change the times and the size of a file that is open for reading, without a grant to write",
    by: "grantee",
    advisories: ["CVE-2025-61785"],
    grants: ({ outside }) => ({ read: [`${outside}/code.js`] }),
    attack: async ({ outside }, t) => {
      const fs = await import("node:fs");
      using file = Deno.openSync(`${outside}/code.js`, { read: true });
      const fd = fs.openSync(`${outside}/code.js`, "r");
      return await t.refused([
        () => file.utimeSync(0, 0),
        () => file.utime(0, 0),
        () => file.truncateSync(),
        () => file.writeSync(new Uint8Array(1)),
        () => fs.ftruncateSync(fd),
        () => fs.writeSync(fd, "x"),
      ]);
    },
    expected: refused,
  },
  {
    name: "change the times and the mode of a file that is open for reading, by node:fs",
    by: "grantee",
    advisories: ["CVE-2025-61785"],
    prepare: restoreMode,
    grants: ({ outside }) => ({ read: [`${outside}/code.js`] }),
    attack: async ({ outside }) => {
      const fs = await import("node:fs");
      const fd = fs.openSync(`${outside}/code.js`, "r");
      fs.futimesSync(fd, 0, 0);
      fs.fchmodSync(fd, 0o666);
      return "changed";
    },
    expected: {
      process: notHeld(
        'gives "changed"',
        "Deno's node:fs changes times, mode and owner of an open file without a permission to write; it is " +
          "a file that the operator granted to be read, and its contents stay",
        "touched",
      ),
      sealed: "throws EROFS",
    },
  },
  {
    name: "ask about, and read, a file that is open for writing, without a grant to read",
    by: "grantee",
    advisories: ["CVE-2025-61786"],
    grants: ({ shared }) => ({ write: [shared] }),
    attack: async ({ shared }, t) => {
      const fs = await import("node:fs");
      using file = Deno.openSync(`${shared}/written`, { write: true, create: true });
      const fd = fs.openSync(`${shared}/written`, "a");
      return await t.refused([
        () => file.statSync().size,
        async () => (await file.stat()).mtime,
        () => fs.readSync(fd, new Uint8Array(8)),
        () => file.readSync(new Uint8Array(8)),
        () => Deno.statSync(`${shared}/written`).size,
      ]);
    },
    expected: refused,
  },
  {
    name: "ask about a file that is open for writing, by node:fs",
    by: "grantee",
    advisories: ["CVE-2025-61786"],
    grants: ({ shared }) => ({ write: [shared] }),
    attack: async ({ shared }) => {
      const fs = await import("node:fs");
      return fs.fstatSync(fs.openSync(`${shared}/written`, "w")).size;
    },
    expected: notHeld(
      "gives 0",
      "Deno's node:fs tells of an open file without a permission to read; it is one that the plugin may write",
    ),
  },
  {
    name: "require() of a package of its own making whose main leads out of node_modules",
    by: "granted",
    advisories: ["CVE-2026-49406"],
    attack: async ({ outside, canary, shared }, t) => {
      const { createRequire } = await import("node:module");
      const packages = [["up", `${"../".repeat(20)}${canary.slice(1)}`], [
        "code",
        `../../../../outside/code.js`,
      ], [
        "absolute",
        canary,
      ]] as const;
      for (const [name, main] of packages) {
        Deno.mkdirSync(`${shared}/deep/node_modules/${name}`, { recursive: true });
        Deno.writeTextFileSync(
          `${shared}/deep/node_modules/${name}/package.json`,
          JSON.stringify({ name, version: "1.0.0", main, exports: { "./x": main } }),
        );
      }
      const require = createRequire(`file://${shared}/deep/x.js`);
      const outcome = await t.refused([
        ...packages.flatMap(([name]) => [() => require(name), () => require(`${name}/x`)]),
        () => require(`up/${"../".repeat(20)}${canary.slice(1)}`),
        () => import(`file://${shared}/deep/node_modules/code/../../../../outside/code.js`),
        () => require(`${outside}/code.js`),
      ]);
      Deno.removeSync(`${shared}/deep/node_modules`, { recursive: true });
      return outcome;
    },
    expected: refused,
  },
  {
    name: "other Unicode forms and cases of a path outside and of a granted one",
    by: "granted",
    advisories: ["CVE-2026-49401"],
    attack: ({ canary, outside, shared }, t) =>
      t.each(
        [
          ...[canary.toUpperCase(), `${outside}/Canary`, canary.replace("a", "ａ"), canary.replace("s", "ſ")],
          ...[`${shared.toUpperCase()}/note`, `${shared}\u0301/note`, shared.replace("sh", "ﬆ")],
          `${shared}\u200b/../outside/canary`,
        ].map((path) => () => Deno.readTextFileSync(path)),
      ),
    expected: "throws NotCapable",
  },
];

export const fileTrickRows: Row[] = rowsOf("symlinks and path tricks", attacks);

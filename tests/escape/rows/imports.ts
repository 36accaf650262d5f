/**
 * Code from outside the package: imports, module graphs, strings.
 *
 * @module
 */
import { type AttackRow, notHeld, type PackageRow, type Row, rowsOf } from "../row.ts";
import { packageFiles } from "./package_files.ts";

const sameGrants = "code from data runs without the eval grant, under the same permissions";

const dynamic: AttackRow[] = [
  {
    name: "import() of npm: packages",
    by: "bare",
    attack: (_aim, t) =>
      t.each(["npm:is-odd", "npm:zod@4.6.7", "npm:/zod"].map((specifier) => () => import(specifier))),
    expected: "throws TypeError",
    says: /--no-npm is specified/,
  },
  {
    name: "import() of jsr: packages",
    by: "bare",
    attack: (_aim, t) =>
      t.each(["jsr:@std/assert", "jsr:/@std/fs@1"].map((specifier) => () => import(specifier))),
    expected: "throws TypeError",
    says: /Requires import access/,
  },
  {
    name: "import() of https: and http: modules",
    by: "bare",
    attack: ({ secretPort }, t) =>
      t.each(
        [
          "https://example.com/mod.ts",
          "https://jsr.io/@std/fs/meta.json",
          `http://127.0.0.1:${secretPort}/mod.js`,
        ]
          .map((specifier) => () => import(specifier)),
      ),
    expected: "throws TypeError",
    says: /Requires import access/,
  },
  {
    name: "import() over http: from the one address that is granted",
    by: "online",
    attack: ({ openPort }) => import(`http://127.0.0.1:${openPort}/mod.js`),
    expected: "throws TypeError",
    says: /Requires import access/,
  },
  {
    name: "import() of a module outside the package, by path and by URL",
    by: "bare",
    attack: ({ outside }, t) =>
      t.each(
        [
          `file://${outside}/code.js`,
          `${outside}/code.js`,
          `file://localhost${outside}/code.js`,
          `file:${outside}/code.js`,
        ]
          .map((specifier) => () => import(specifier)),
      ),
    expected: "throws TypeError",
  },
  {
    name: "import() of a file outside as JSON, text and bytes",
    by: "bare",
    attack: ({ canary }, t) =>
      t.each(
        ["json", "text", "bytes"].map((type) => () => import(`file://${canary}`, { with: { type } })),
      ),
    expected: "throws TypeError",
  },
  {
    name: "import() of another plugin's package in the store",
    by: "bare",
    attack: ({ dataDir }, t) =>
      t.each(
        ["..", `${dataDir}/packages`].map((folder) => () =>
          import(`file://${folder === ".." ? `${t.ctx.packageDir}/..` : folder}/${"0".repeat(64)}/mod.ts`)
        ),
      ),
    expected: "throws TypeError",
  },
  {
    name: "import() of a module that the plugin wrote itself into its private folder",
    by: "bare",
    attack: async ({ canary }, t) => {
      await Deno.writeTextFile(
        `${t.data}/own.js`,
        `import { readFileSync } from "node:fs"; export const secret = readFileSync("${canary}", "utf8");`,
      );
      const { secret } = await import(`file://${t.data}/own.js`);
      return secret;
    },
    expected: "throws NotCapable",
  },
  {
    name: "a data: module that imports npm:, https: and a file outside",
    advisories: ["CVE-2021-32619"],
    by: "bare",
    attack: ({ outside }, t) =>
      t.each(
        ["npm:is-odd", "https://example.com/mod.js", `file://${outside}/code.js`].map((specifier) => () =>
          import(`data:text/javascript,import ${JSON.stringify(specifier)}`)
        ),
      ),
    expected: "throws TypeError",
  },
  {
    name: "a blob: module that imports npm: and https:",
    by: "bare",
    attack: (_aim, t) =>
      t.each(
        ["npm:is-odd", "https://example.com/mod.js"].map((specifier) => () =>
          import(
            URL.createObjectURL(
              new Blob([`import ${JSON.stringify(specifier)}`], { type: "text/javascript" }),
            )
          )
        ),
      ),
    expected: "throws TypeError",
  },
  {
    name: "a data: module that reads a file outside",
    by: "bare",
    attack: async ({ canary }) =>
      (await import(
        `data:text/javascript,export const secret = Deno.readTextFileSync(${JSON.stringify(canary)})`
      )).secret,
    expected: "throws NotCapable",
  },
  {
    name: "a data: module, which is code from a string",
    by: "bare",
    attack: async () => (await import("data:text/typescript,export const own: number = 6 * 7")).own,
    expected: notHeld("gives 42", sameGrants),
  },
];

const strings: AttackRow[] = [
  {
    name: "eval and the constructors of functions",
    by: "bare",
    attack: (_aim, t) => {
      const makers = [function () {}, async function () {}, function* () {}, async function* () {}];
      return t.each([
        () => (0, eval)("6 * 7"),
        () => new Function("return 6 * 7")(),
        ...makers.map((maker) => () => maker.constructor("return 6 * 7")()),
      ]);
    },
    expected: "throws EvalError",
  },
  {
    name: "eval in a nested Worker",
    by: "bare",
    attack: (_aim, t) =>
      t.nested(`try { postMessage(eval("6 * 7")) } catch (error) { postMessage(error.name) }`),
    expected: 'gives "EvalError"',
  },
  {
    name: "a timer with a string for its code",
    by: "bare",
    attack: async () => {
      Reflect.apply(setTimeout, globalThis, ["globalThis.fromString = 42", 0]);
      // For longer than the timer takes, if there is one: that it never fires has no event.
      await new Promise((resolve) => setTimeout(resolve, 20));
      return Reflect.get(globalThis, "fromString") ?? "nothing ran";
    },
    expected: "throws TypeError",
  },
  {
    name: "eval although it was requested and not granted",
    by: "grantee",
    attack: () => (0, eval)("6 * 7"),
    expected: "throws EvalError",
  },
  {
    name: "eval with the grant, to read a file outside",
    by: "grantee",
    grants: () => ({ eval: true }),
    attack: ({ canary }) => (0, eval)(`Deno.readTextFileSync(${JSON.stringify(canary)})`),
    expected: "throws NotCapable",
  },
  {
    name: "node:vm runs a string",
    by: "bare",
    attack: async () => (await import("node:vm")).runInNewContext("6 * 7"),
    expected: notHeld("gives 42", sameGrants),
  },
  {
    name: "node:vm reads a file outside with a context of its own",
    by: "bare",
    attack: async ({ canary }) =>
      (await import("node:vm")).runInNewContext("deno.readTextFileSync(canary)", { deno: Deno, canary }),
    expected: "throws NotCapable",
  },
  {
    name: "V8's flag against code from strings, taken back at run time",
    by: "bare",
    spoils: true,
    attack: async (_aim, t) => {
      (await import("node:v8")).setFlagsFromString("--no-disallow-code-generation-from-strings");
      return t.nested(`try { postMessage(eval("6 * 7")) } catch (error) { postMessage(error.name) }`);
    },
    expected: 'gives "EvalError"',
  },
  {
    name: "WebAssembly, which is code from bytes",
    by: "bare",
    attack: async () => {
      // (module (func (export "f") (result i32) i32.const 42))
      const code = [
        0,
        97,
        115,
        109,
        1,
        0,
        0,
        0,
        1,
        5,
        1,
        96,
        0,
        1,
        127,
        3,
        2,
        1,
        0,
        7,
        5,
        1,
        1,
        102,
        0,
        0,
        10,
      ];
      const { instance } = await WebAssembly.instantiate(new Uint8Array([...code, 6, 1, 4, 0, 65, 42, 11]));
      return (instance.exports["f"] as () => number)();
    },
    expected: notHeld("gives 42", "WebAssembly is not what the eval grant is about; it can only compute"),
  },
  {
    name: "require() of a package, of a file outside and of native code",
    by: "bare",
    attack: async ({ outside, canary }, t) => {
      const { createRequire } = await import("node:module");
      const require = createRequire(`file://${t.ctx.packageDir}/mod.ts`);
      return t.each([`${outside}/code.js`, canary].map((path) => () => require(path)));
    },
    expected: "throws NotCapable",
  },
];

/** A package whose module says `text`. */
const moduleOf = (text: string): Pick<PackageRow, "files"> => ({
  files: (id) => packageFiles(id, `${text}\nexport const actions = { run: () => "ran" };`),
});

const graphs: PackageRow[] = [
  ...["npm:is-odd", "npm:zod@4.6.7", "jsr:@std/assert", "https://example.com/mod.ts", "zod", "@std/jsonc"]
    .map(
      (specifier): PackageRow => ({
        name: `a package that imports "${specifier}"`,
        ...moduleOf(`import ${JSON.stringify(specifier)};`),
        expected: "fails PLUGIN_START_FAILED",
      }),
    ),
  {
    name: "a package that imports from a server on the loopback",
    files: (id, { secretPort }) =>
      packageFiles(id, `import "http://127.0.0.1:${secretPort}/mod.js"; export const actions = {};`),
    expected: "fails PLUGIN_START_FAILED",
  },
  {
    name: "a package that imports a file outside, by URL",
    files: (id, { outside }) =>
      packageFiles(
        id,
        `import { secret } from "file://${outside}/code.js"; export const actions = { run: () => secret };`,
      ),
    expected: "fails PLUGIN_START_FAILED",
  },
  {
    name: "a package that imports a file outside, by a relative path",
    files: (id, { outside }) =>
      packageFiles(
        id,
        `import { secret } from "${
          "../".repeat(12)
        }..${outside}/code.js"; export const actions = { run: () => secret };`,
      ),
    expected: "fails PLUGIN_START_FAILED",
  },
  {
    name: "a package that imports a file outside as text",
    files: (id, { canary }) =>
      packageFiles(
        id,
        `import secret from "${canary}" with { type: "text" }; export const actions = { run: () => secret };`,
      ),
    expected: "fails PLUGIN_START_FAILED",
  },
  {
    name: "a package with a configuration and an import map of its own",
    files: (id, { canary }) => ({
      ...packageFiles(
        id,
        `import { readFileSync } from "mapped"; export const actions = { run: () => readFileSync("${canary}", "utf8") };`,
      ),
      "deno.json": '{ "imports": { "mapped": "node:fs" }, "permissions": { "default": { "all": true } } }',
      "package.json": '{ "dependencies": { "mapped": "1.0.0" } }',
    }),
    expected: "fails PLUGIN_START_FAILED",
  },
  {
    name: "a package with node_modules of its own",
    files: (id) => ({
      ...packageFiles(id, 'import "mapped"; export const actions = { run: () => 1 };'),
      "node_modules/mapped/package.json": '{ "name": "mapped", "version": "1.0.0", "main": "index.js" }',
      "node_modules/mapped/index.js": 'module.exports = require("node:fs");',
    }),
    expected: "fails PLUGIN_REJECTED",
  },
  ...[
    "npm:zod",
    "https://example.com/mod.ts",
    "../other/mod.ts",
    "/etc/passwd",
    "a/../../mod.ts",
    "data:text/javascript,1",
  ]
    .map((entrypoint): PackageRow => ({
      name: `a package whose entrypoint is "${entrypoint}"`,
      files: (id) => packageFiles(id, "export const actions = { run: () => 1 };", { entrypoint }),
      expected: "fails PLUGIN_REJECTED",
    })),
  {
    name: "a package whose source map is a file outside",
    files: (id, { canary }) =>
      packageFiles(
        id,
        `export const actions = { run: () => { throw new Error("mapped"); } };\n//# sourceMappingURL=file://${canary}`,
      ),
    expected: "fails ACTION_FAILED",
  },
  {
    name: "a package whose module never ends loading",
    ...moduleOf("for (;;);"),
    expected: ["fails PLUGIN_START_FAILED", "fails PLUGIN_UNRESPONSIVE"],
  },
  {
    name: "a package whose module ends its process while it loads",
    ...moduleOf('Deno.kill(Deno.pid, "SIGKILL"); await new Promise(() => {});'),
    expected: "fails PLUGIN_START_FAILED",
  },
  {
    name: "a package whose module is a thenable that never resolves",
    ...moduleOf("export function then() {}"),
    expected: "fails PLUGIN_START_FAILED",
  },
];

export const importRows: Row[] = rowsOf("imports and module graph", [...dynamic, ...strings, ...graphs]);

/**
 * The layers, from the ground up: nothing imports from a layer listed below it.
 *
 * @module
 */
import { deepEqual, ok } from "node:assert/strict";
import { type Import, importsOf, type SourceFile, sourceFile, sourceFiles } from "./source_files.ts";

const layers: readonly (readonly [name: string, pattern: RegExp])[] = [
  ["schemas", /^schemas\//],
  ["sdk", /^sdk\//],
  ["sandbox", /^sandbox\//],
  ["kernel/telemetry", /^kernel\/telemetry\//],
  ["kernel/store", /^kernel\/store\//],
  ["kernel/ledger", /^kernel\/ledger\//],
  ["kernel/trust", /^kernel\/trust\//],
  ["kernel/registry", /^kernel\/registry\//],
  ["kernel/lifecycle", /^kernel\/lifecycle\//],
  ["kernel/router", /^kernel\/router\//],
  ["kernel/bus", /^kernel\/bus\//],
  ["kernel/jobs", /^kernel\/jobs\//],
  ["kernel", /^kernel\/[a-z_]+\.ts$/],
  ["kernel/api", /^kernel\/api\//],
  ["cli", /^cli\//],
  ["console", /^console\//],
  ["plugins", /^plugins\//],
  ["main", /^main\.ts$/],
];

function layerOf(path: string): number {
  return layers.findIndex(([, pattern]) => pattern.test(path));
}

const files = sourceFiles();
const product = files.filter(({ path }) => !/^(?:tests|bench)\//.test(path));
const runtime = product.filter(({ isTest }) => !isTest);

/** `file: import` of each import that `isForbidden` says yes to. */
function findImports(
  among: SourceFile[],
  isForbidden: (item: Import, file: SourceFile) => boolean,
): string[] {
  return among.flatMap((file) =>
    importsOf(file).filter((item) => isForbidden(item, file)).map(({ specifier }) =>
      `${file.path}: ${specifier}`
    )
  );
}

Deno.test("layering: every file belongs to a layer", () => {
  ok(product.length > 100, `${product.length} files`);
  deepEqual(product.filter(({ path }) => layerOf(path) < 0).map(({ path }) => path), []);
});

Deno.test("layering: nothing imports from a layer listed below its own", () => {
  deepEqual(
    findImports(
      product,
      ({ path }, file) => path?.endsWith(".ts") === true && layerOf(path) > layerOf(file.path),
    ),
    [],
  );
});

Deno.test("layering: no file that runs in production imports a test's, and nothing imports from tests or bench", () => {
  const isTestFile = (path: string) => /_test\.ts$|^tests\/|^bench\//.test(path);
  deepEqual(findImports(product, ({ path }) => path !== undefined && isTestFile(path)), []);
  deepEqual(
    findImports(runtime, ({ path }) => path?.endsWith(".ts") === true && sourceFile(path).isTest),
    [],
  );
});

Deno.test("layering: a plugin imports its own files, what is built in, and the SDK's types", () => {
  const plugins = runtime.filter(({ path }) => /^plugins\/[^/]+\//.test(path));
  ok(plugins.length > 10);
  deepEqual(
    findImports(plugins, ({ specifier, path, isType }, file) => {
      if (path !== undefined) return !path.startsWith(`${file.path.split("/").slice(0, 2).join("/")}/`);
      return !specifier.startsWith("node:") && !(specifier === "airlock/sdk" && isType);
    }),
    [],
  );
});

Deno.test("layering: hono is known to kernel/api alone", () => {
  const isHono = ({ specifier }: Import) => /^(?:hono|@hono\/)/.test(specifier);
  deepEqual(findImports(product.filter(({ path }) => !path.startsWith("kernel/api/")), isHono), []);
});

Deno.test("layering: the command line and the console speak to the kernel through HTTP only", () => {
  const clients = runtime.filter(({ path }) => /^(?:cli|console)\//.test(path));
  deepEqual(
    findImports(
      clients,
      ({ path }) =>
        path !== undefined && /^(?:kernel|sandbox)\//.test(path) && !path.startsWith("kernel/ledger/"),
    ),
    [],
  );
});

Deno.test("layering: the guest host imports types only", () => {
  const guest = runtime.filter(({ path }) => path.startsWith("sandbox/guest/"));
  ok(guest.length > 0);
  deepEqual(findImports(guest, ({ isType }) => !isType), []);
});

/** The shapes that the warden knows. */
const wardenSchemas = ["audit", "capabilities", "cell_protocol", "config", "limits", "warden_protocol"].map((
  name,
) => `schemas/${name}.ts`);

Deno.test("layering: the warden imports its own files, a few schemas, and no package but zod", () => {
  const warden = runtime.filter(({ path }) => path.startsWith("sandbox/warden/"));
  ok(warden.length > 5);
  deepEqual(
    findImports(warden, ({ specifier, path }) => {
      if (path === undefined) return specifier !== "zod" && !specifier.startsWith("node:");
      return !path.startsWith("sandbox/warden/") && !wardenSchemas.includes(path) &&
        path !== "sandbox/permissions.ts" && path !== "sandbox/rate.ts";
    }),
    [],
  );
});

Deno.test("layering: what the warden loads, at any depth, contains no package but zod and opens no socket", () => {
  // `serve` in main.ts imports these; what it does not reach, another process loads.
  const loaded = new Set<string>();
  const packages = new Set<string>();
  const load = (path: string) => {
    if (loaded.has(path)) return;
    loaded.add(path);
    for (const { path: next, specifier, isType, isDynamic } of importsOf(sourceFile(path))) {
      if (isType || isDynamic) continue;
      if (next === undefined) packages.add(specifier);
      else if (next.endsWith(".ts")) load(next);
    }
  };
  for (
    const path of [
      "main.ts",
      "sandbox/warden/warden.ts",
      "sandbox/warden/settings.ts",
      "kernel/api/swagger_ui_folder.ts",
    ]
  ) load(path);
  deepEqual([...packages].filter((specifier) => !specifier.startsWith("node:")), ["zod"]);
  const sockets = [...loaded].filter((path) =>
    /Deno\.(?:listen|connect|serve)|\bfetch\(|node:(?:net|http|dgram)/.test(sourceFile(path).text)
  );
  deepEqual(sockets, []);
});

Deno.test("layering: only main.ts reads the environment", () => {
  const readers = runtime.filter(({ text }) => /\bDeno\.env\b|\bprocess\.env\b/.test(withoutComments(text)))
    .map(({ path }) => path);
  deepEqual(readers, ["main.ts"]);
});

Deno.test("layering: only the warden and the build start programs", () => {
  const isStarter = ({ text }: SourceFile) =>
    /\bDeno\.Command\b|node:child_process|node:cluster|node:worker_threads/.test(withoutComments(text));
  const starters = runtime.filter((file) => isStarter(file) && !file.path.startsWith("sandbox/warden/")).map((
    { path },
  ) => path);
  // git-log is a plugin: it may ask, and is refused without a grant.
  deepEqual(starters.filter((path) => !path.startsWith("plugins/git-log/")), [
    "sandbox/build_cell.ts",
    "sdk/build_packages.ts",
  ]);
});

function withoutComments(text: string): string {
  return text.replaceAll(/\/\*[\s\S]*?\*\/|(?<=^|\s)\/\/.*$/gm, "");
}

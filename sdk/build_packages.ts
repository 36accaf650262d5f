/**
 * Builds the client as it is published: `dist/sdk/npm` and `dist/sdk/jsr`.
 *
 *     deno task build:sdk
 *
 * For npm: one ES module that imports zod, declared as a dependency, because the types that callers see are zod's and
 * an application that has zod must not get a second one; and `browser.js` with all in it, for a page without a
 * bundler. For JSR: the sources, with each bare name replaced by the pinned `npm:` one. The compiler of Deno makes
 * the declarations, so that no other is needed. Nothing is fetched.
 *
 * @module
 */
import { dirname, join, relative } from "node:path";
import { z } from "zod";

const root = new URL("..", import.meta.url).pathname;
const entry = "sdk/client.ts";

/** A choice for whoever owns the scope at the registry. */
export const packageName = "@airlock/client";
const description = "Client of Airlock: actions, jobs and streams over one WebSocket that is kept up";

const projectSchema = z.looseObject({
  version: z.string(),
  license: z.string(),
  imports: z.record(z.string(), z.string()),
});
type Project = z.infer<typeof projectSchema>;

/** What `deno info --json` says, of which this needs the files. */
const graphSchema = z.looseObject({ modules: z.array(z.looseObject({ local: z.string().optional() })) });

/** Standard output. Throws when the command fails. */
async function runDeno(...args: string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args,
    cwd: root,
    stdout: "piped",
    stderr: "piped",
  }).output();
  const decoder = new TextDecoder();
  if (!success) throw new Error(`Cannot run "deno ${args[0]}": ${decoder.decode(stderr)}`);
  return decoder.decode(stdout);
}

async function writeFile(path: string, text: string): Promise<void> {
  await Deno.mkdir(dirname(path), { recursive: true });
  await Deno.writeTextFile(path, text);
}

async function makeEmpty(folder: string): Promise<void> {
  await Deno.remove(folder, { recursive: true }).catch((error: unknown) => {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  });
  await Deno.mkdir(folder, { recursive: true });
}

async function copyDocuments(folder: string): Promise<void> {
  await Deno.copyFile(join(root, "sdk/README.md"), join(folder, "README.md"));
  await Deno.copyFile(join(root, "LICENSE"), join(folder, "LICENSE"));
}

async function bundle(folder: string, name: string, ...options: string[]): Promise<void> {
  const text = await runDeno("bundle", "--quiet", "--platform=browser", "--format=esm", ...options, entry);
  // The bundler marks each module with its path, which differs from checkout to checkout.
  await writeFile(join(folder, name), text.replaceAll(/^\/\/ .*$\n/gm, ""));
}

/** `types/`: a declaration for each module, in the folders of the sources. */
async function declare(folder: string): Promise<void> {
  const made = await Deno.makeTempDir();
  try {
    await runDeno("transpile", "--quiet", "--declaration", "--outdir", made, entry);
    for await (const path of filesOf(made)) {
      if (!path.endsWith(".d.ts")) continue;
      const text = (await Deno.readTextFile(join(made, path)))
        .replace(/^\/\/\/ <amd-module .*\n/, "")
        // A declaration stands beside a module of JavaScript, or of none.
        .replaceAll(/(["'])(\.{1,2}\/[^"']+)\.ts\1/g, "$1$2.js$1");
      await writeFile(join(folder, "types", path), text);
    }
  } finally {
    await Deno.remove(made, { recursive: true });
  }
}

async function* filesOf(folder: string, below = ""): AsyncGenerator<string> {
  for await (const { name, isDirectory } of Deno.readDir(join(folder, below))) {
    if (isDirectory) yield* filesOf(folder, join(below, name));
    else yield join(below, name);
  }
}

async function buildNpm(folder: string, { version, license, imports }: Project): Promise<void> {
  await makeEmpty(folder);
  await bundle(folder, "client.js", "--external=zod");
  await bundle(folder, "browser.js", "--minify");
  await declare(folder);
  await copyDocuments(folder);
  const types = `./types/${entry.replace(/\.ts$/, ".d.ts")}`;
  const manifest = {
    name: packageName,
    version,
    description,
    license,
    type: "module",
    sideEffects: false,
    engines: { node: ">=20" },
    exports: {
      ".": { types, default: "./client.js" },
      "./browser": { types, default: "./browser.js" },
    },
    files: ["client.js", "browser.js", "types"],
    dependencies: { zod: `^${imports.zod?.split("@").at(-1)}` },
  };
  await writeFile(join(folder, "package.json"), `${JSON.stringify(manifest, null, 2)}\n`);
}

async function buildJsr(folder: string, { version, license, imports }: Project): Promise<void> {
  await makeEmpty(folder);
  const graph = graphSchema.parse(JSON.parse(await runDeno("info", "--json", entry)));
  for (const { local } of graph.modules) {
    const path = local === undefined ? ".." : relative(root, local);
    if (path.startsWith("..")) continue;
    const text = (await Deno.readTextFile(join(root, path))).replaceAll(
      /(?<=^(?:import|export|\}) [^;]*?from )"([^."][^"]*)";$/gm,
      (whole, name: string) => imports[name] === undefined ? whole : `"${imports[name]}";`,
    );
    await writeFile(join(folder, path), text);
  }
  await copyDocuments(folder);
  const manifest = { name: packageName, version, license, exports: `./${entry}` };
  await writeFile(join(folder, "jsr.json"), `${JSON.stringify(manifest, null, 2)}\n`);
}

/** Into `folder/npm` and `folder/jsr`, which are emptied first. */
export async function buildPackages(folder: string): Promise<void> {
  const project = projectSchema.parse(JSON.parse(await Deno.readTextFile(join(root, "deno.json"))));
  await buildNpm(join(folder, "npm"), project);
  await buildJsr(join(folder, "jsr"), project);
}

if (import.meta.main) {
  await buildPackages(join(root, "dist/sdk"));
  console.log("dist/sdk/npm and dist/sdk/jsr are built");
}

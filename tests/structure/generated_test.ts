/**
 * Generated files are those that their sources make. The JSON Schemas have a test of their own, beside
 * their generator.
 *
 * @module
 */
import { deepEqual, equal, ok } from "node:assert/strict";
import { bundle, cellBundles, filters } from "../../sandbox/build_cell.ts";

const committed = (name: string) => Deno.readTextFile(new URL(`../../sandbox/dist/${name}`, import.meta.url));

/** The bundler is fetched once; without a network it may not be to be had. */
async function hasBundler(): Promise<boolean> {
  const file = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    const { success } = await new Deno.Command(Deno.execPath(), {
      args: ["bundle", "--quiet", file],
      stdout: "null",
      stderr: "null",
    }).output();
    return success;
  } finally {
    await Deno.remove(file);
  }
}

const isBundlerHere = await hasBundler();
const skipped = isBundlerHere ? "" : " [skipped: the bundler could not be fetched, try: deno bundle]";

for (const [name, source] of Object.entries(cellBundles)) {
  Deno.test({
    name: `sandbox/dist/${name} is what deno task build makes of ${source}${skipped}`,
    ignore: !isBundlerHere,
    fn: async () => {
      // `ok`: a difference of 100 kB is not worth printing.
      ok(await bundle(source) === await committed(name), "run `deno task build`");
    },
  });

  Deno.test(`sandbox/dist/${name} imports nothing but what is built in`, async () => {
    const specifiers = [...(await committed(name)).matchAll(/^(?:import|export) .*from "([^"]+)"/gm)].map((
      [, specifier],
    ) => specifier);
    equal(specifiers.filter((specifier) => !specifier?.startsWith("node:")).join(), "");
  });
}

for (const [name, bytes] of Object.entries(filters)) {
  Deno.test(`sandbox/dist/${name} is what deno task build makes of warden/seccomp.ts`, async () => {
    deepEqual(await Deno.readFile(new URL(`../../sandbox/dist/${name}`, import.meta.url)), bytes);
  });
}

import assert from "node:assert/strict";
import { packageDigestOf, sha256HexOf, sha256SumsOf } from "./package_digest.ts";

const file = (path: string, text: string) => ({ path, sha256: sha256HexOf(text) });

Deno.test("sha256SumsOf() writes what sha256sum writes, sorted by bytes", async () => {
  const folder = await Deno.makeTempDir();
  // By UTF-16 units the last two would change places.
  const paths = ["a-b.ts", "a.ts", "B.ts", "lib/a b.ts", "é.ts", "\u{ff5e}.ts", "\u{1f600}.ts"];
  try {
    await Deno.mkdir(`${folder}/lib`);
    for (const path of paths) await Deno.writeTextFile(`${folder}/${path}`, path);
    const { stdout } = await new Deno.Command("sh", {
      args: ["-c", "find . -type f -printf '%P\\0' | LC_ALL=C sort -z | xargs -0 sha256sum"],
      cwd: folder,
    }).output();
    const text = new TextDecoder().decode(stdout);
    assert.equal(sha256SumsOf(paths.map((path) => file(path, path))), text);
    assert.equal(packageDigestOf(paths.map((path) => file(path, path)).reverse()), sha256HexOf(text));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("sha256SumsOf() of no file is empty", () => {
  assert.equal(sha256SumsOf([]), "");
});

Deno.test("sha256SumsOf() refuses names that sha256sum would escape", () => {
  for (const path of ["a\nb", "a\\b", "a\rb"]) {
    assert.throws(() => sha256SumsOf([file(path, "")]), RangeError);
  }
});

import assert from "node:assert/strict";
import { packageDigestOf, sha256HexOf } from "../trust/package_digest.ts";
import { readPackage } from "./read_package.ts";

const options = { hostVersion: "0.1.0", bytesMax: 1_000_000, filesMax: 100 };
const minimal = `{
  "id": "hello",
  "version": "1.0.0",
  "airlock": ">=0.1.0 <1.0.0",
  "entrypoint": "mod.ts",
  "actions": { "greet": {} }
}`;

async function withPackage(
  files: Record<string, string | Uint8Array>,
  test: (folder: string) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    for (const [path, content] of Object.entries(files)) {
      await Deno.mkdir(`${folder}/${path}`.replace(/\/[^/]*$/, ""), { recursive: true });
      if (typeof content === "string") await Deno.writeTextFile(`${folder}/${path}`, content);
      else await Deno.writeFile(`${folder}/${path}`, content);
    }
    await test(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function faultsOf(folder: string, from: typeof options = options): Promise<string[]> {
  const result = await readPackage(folder, from);
  assert.ok(!result.ok);
  assert.equal(result.error.code, "PLUGIN_REJECTED");
  assert.ok(result.error.message.startsWith(`Cannot admit "${folder}": `));
  return (result.error.options.errors ?? []).map(({ line, path, message }) =>
    `${line ?? "-"} ${path} ${message}`
  );
}

Deno.test("readPackage() gives manifest, bytes and digest", async () => {
  const files = { "plugin.jsonc": minimal, "mod.ts": "export const actions = {};", "lib/a.ts": "" };
  const beside = { "SHA256SUMS": "x", "SHA256SUMS.sig": "x", ".git/HEAD": "x" };
  await withPackage({ ...files, ...beside }, async (folder) => {
    const result = await readPackage(folder, options);
    assert.ok(result.ok);
    assert.equal(result.package.manifest.id, "hello");
    assert.deepEqual(result.package.files.map(({ path }) => path), ["lib/a.ts", "mod.ts", "plugin.jsonc"]);
    const hashed = Object.entries(files).map(([path, text]) => ({ path, sha256: sha256HexOf(text) }));
    assert.equal(result.package.digest, packageDigestOf(hashed));
  });
});

Deno.test("readPackage() gives faults of manifest, schemas, requests and folder at once", async () => {
  const manifest = `{
  "id": "hello",
  "version": "1.0.0",
  "airlock": "^0.1",
  "entrypoint": "mood.ts",
  "changelog": "CHANGES",
  "actions": {
    "greet": {
      "input": { "type": "strin" },
      "output": { "$ref": "#/$defs/none" },
    },
  },
  "capabilities": {
    "net": ["http://example.com"],
    "sys": ["hostnam"],
  },
}`;
  await withPackage({ "plugin.jsonc": manifest, "mod.ts": "" }, async (folder) => {
    await Deno.symlink("/etc/passwd", `${folder}/secrets`);
    assert.deepEqual((await faultsOf(folder)).map((fault) => fault.slice(0, 48)), [
      "5 /entrypoint must be a file of the package: did",
      "6 /changelog must be a file of the package",
      "9 /actions/greet/input/type must be one or sever",
      "10 /actions/greet/output/$ref must name a schema",
      "14 /capabilities/net/0 must be a host and a port",
      "15 /capabilities/sys/0 must be one of cpus, getP",
      '-  "secrets" is a link',
    ]);
  });
});

Deno.test("readPackage() says which side to upgrade, also when the manifest has keys to come", async () => {
  const rows: [airlock: string, hostVersion: string, fault: RegExp | undefined][] = [
    [">=0.1.0 <1.0.0", "0.1.0", undefined],
    ["^0.1", "0.1.9", undefined],
    ["^0.2", "0.1.0", /runs on Airlock \^0\.2, and this is 0\.1\.0: upgrade Airlock$/],
    ["<0.1.0", "0.1.0", /upgrade the plugin/],
  ];
  for (const [airlock, hostVersion, fault] of rows) {
    for (const extra of ["", '"future": 1,']) {
      const manifest = minimal.replace(">=0.1.0 <1.0.0", airlock).replace("{", `{${extra}`);
      await withPackage({ "plugin.jsonc": manifest, "mod.ts": "" }, async (folder) => {
        const result = await readPackage(folder, { ...options, hostVersion });
        assert.equal(result.ok, fault === undefined && extra === "");
        if (!result.ok) assert.equal(result.id, "hello");
        if (fault !== undefined) {
          assert.match((await faultsOf(folder, { ...options, hostVersion }))[0], fault);
        }
      });
    }
  }
});

Deno.test("readPackage() rejects what has no readable manifest", async () => {
  const rows: [files: Record<string, string | Uint8Array>, fault: RegExp][] = [
    [{ "mod.ts": "" }, /There is no manifest, plugin\.jsonc$/],
    [{ "plugin.json": "" }, /no manifest.*is "plugin\.json" meant/],
    [{ "plugin.jsonc": new Uint8Array([0x7b, 0xff, 0x7d]) }, /must be UTF-8/],
    [{ "plugin.jsonc": "{" }, /closing brace/],
    [{ "plugin.jsonc": `// ${"x".repeat(1_048_600)}` }, /more than 1000000 bytes/],
  ];
  for (const [files, fault] of rows) {
    await withPackage(files, async (folder) => assert.match((await faultsOf(folder)).join("\n"), fault));
  }
  assert.match((await faultsOf("/nowhere")).join(), /cannot be read/);
});

Deno.test("readPackage() reads nothing of a package over a limit", async () => {
  await withPackage({ "plugin.jsonc": minimal, "mod.ts": "x".repeat(2_000) }, async (folder) => {
    assert.deepEqual(await faultsOf(folder, { ...options, bytesMax: 1_000 }), [
      "-  The files have more than 1000 bytes together",
    ]);
    assert.deepEqual(await faultsOf(folder, { ...options, filesMax: 1 }), ["-  There are more than 1 files"]);
  });
});

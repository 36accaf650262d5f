import assert from "node:assert/strict";
import { createPackageStore, type PackageStore, verifyPackage } from "./package_store.ts";
import { readPackage } from "./read_package.ts";
import { readOne, scanPluginFolders } from "./registry.ts";

const limits = { bytesMax: 1_000_000, filesMax: 100 };
const options = { ...limits, hostVersion: "0.1.0", pluginsMax: 100 };

const manifestOf = (id: string) =>
  JSON.stringify({ id, version: "1.0.0", airlock: "^0.1", entrypoint: "lib/mod.ts", actions: { greet: {} } });

async function writePlugin(folder: string, id: string, code = "export const actions = {};"): Promise<void> {
  await Deno.mkdir(`${folder}/lib`, { recursive: true });
  await Deno.writeTextFile(`${folder}/plugin.jsonc`, manifestOf(id));
  await Deno.writeTextFile(`${folder}/lib/mod.ts`, code);
}

async function withStore(test: (plugins: string, store: PackageStore, data: string) => Promise<void>) {
  const root = await Deno.realPath(await Deno.makeTempDir());
  try {
    await Deno.mkdir(`${root}/plugins`);
    await test(`${root}/plugins`, await createPackageStore(`${root}/data/packages`, limits), `${root}/data`);
  } finally {
    await Deno.remove(root, { recursive: true });
  }
}

Deno.test("scanPluginFolders() admits the good ones whatever the others are", async () => {
  await withStore(async (plugins, store) => {
    await writePlugin(`${plugins}/b-good`, "good");
    await writePlugin(`${plugins}/c-clash`, "good");
    await writePlugin(`${plugins}/.hidden`, "hidden");
    await writePlugin(`${plugins}/a-broken`, "broken");
    await Deno.symlink("/etc/passwd", `${plugins}/a-broken/lib/link`);
    await Deno.symlink(`${plugins}/b-good`, `${plugins}/Linked One`);
    await Deno.mkdir(`${plugins}/empty`);
    await Deno.writeTextFile(`${plugins}/README.md`, "");
    const result = await scanPluginFolders([plugins], { ...options, store });
    assert.deepEqual(
      result.plugins.map((plugin) =>
        plugin.kind === "admitted"
          ? [plugin.manifest.id, plugin.kind]
          : [plugin.id, plugin.error.message.slice(`Cannot admit "${plugins}/`.length)]
      ),
      [
        ["linked-one", 'Linked One": The folder is a link'],
        ["broken", 'a-broken": "lib/link" is a link'],
        ["good", "admitted"],
        ["c-clash", `c-clash": The id "good" is already that of "${plugins}/b-good"`],
        ["empty", 'empty": There is no manifest, plugin.jsonc'],
      ],
    );
  });
});

Deno.test("scanPluginFolders() keeps ids unique over several folders, and their number bounded", async () => {
  await withStore(async (plugins, store) => {
    for (const folder of ["one", "two", "three"]) {
      await Deno.mkdir(`${plugins}/${folder}/same`, { recursive: true });
      await Deno.mkdir(`${plugins}/${folder}/---`);
    }
    const folders = ["one", "two", "three"].map((name) => `${plugins}/${name}/`);
    const { plugins: scanned } = await scanPluginFolders(folders, { ...options, pluginsMax: 4, store });
    assert.deepEqual(
      scanned.map((plugin) => plugin.kind === "rejected" && plugin.id),
      ["unnamed", "same", "unnamed-2", "same-2", "unnamed-3", "same-3"],
    );
    const last = scanned.at(-1);
    assert.ok(last?.kind === "rejected");
    assert.match(last.error.message, /more than 4 plugins; raise "pluginsMax" in airlock\.jsonc/);
    await assert.rejects(scanPluginFolders([`${plugins}/none`], { ...options, store }), {
      code: "CONFIG_INVALID",
    });
  });
});

Deno.test("scanPluginFolders() reads many packages at once, never more bytes than one may have, in their order", async () => {
  await withStore(async (plugins) => {
    const ids = Array.from({ length: 40 }, (_, number) => `p${String(number).padStart(2, "0")}`);
    // Of five one has most of the room for itself.
    for (const [number, id] of ids.entries()) {
      await writePlugin(`${plugins}/${id}`, id, "/".repeat(number % 5 === 0 ? 900 : 10));
    }
    const now = { packages: 0, bytes: 0 };
    const most = { packages: 0, bytes: 0 };
    const store: Pick<PackageStore, "put"> = {
      async put({ digest, files }) {
        const bytes = files.reduce((sum, file) => sum + file.bytes.length, 0);
        now.packages++;
        now.bytes += bytes;
        most.packages = Math.max(most.packages, now.packages);
        most.bytes = Math.max(most.bytes, now.bytes);
        await new Promise((resolve) => setTimeout(resolve, 0));
        now.packages--;
        now.bytes -= bytes;
        return `/store/${digest}`;
      },
    };
    const scanned = await scanPluginFolders([plugins], { ...options, bytesMax: 1_200, store });
    assert.deepEqual(scanned.plugins.map((plugin) => plugin.kind === "admitted" && plugin.manifest.id), ids);
    assert.ok(most.packages > 1, `${most.packages} packages at once`);
    assert.ok(most.bytes <= 1_200, `${most.bytes} bytes at once`);
  });
});

Deno.test("readOne() gives the new package after a change, and the store keeps both", async () => {
  await withStore(async (plugins, store) => {
    const folder = `${plugins}/hello`;
    await writePlugin(folder, "hello");
    const first = await readOne(folder, { ...options, store });
    assert.deepEqual(await readOne(folder, { ...options, store }), first);
    await Deno.writeTextFile(`${folder}/lib/mod.ts`, "// changed");
    const second = await readOne(folder, { ...options, store });
    assert.ok(first.kind === "admitted" && second.kind === "admitted");
    assert.notEqual(first.digest, second.digest);
    assert.equal(await Deno.readTextFile(`${second.packageFolder}/lib/mod.ts`), "// changed");
    await store.verify(first.digest);
    await store.verify(second.digest);
  });
});

Deno.test("PackageStore writes read-only files and folders", async () => {
  await withStore(async (plugins, store) => {
    await writePlugin(`${plugins}/hello`, "hello");
    const plugin = await readOne(`${plugins}/hello`, { ...options, store });
    assert.ok(plugin.kind === "admitted");
    const modeOf = async (path: string) => ((await Deno.stat(plugin.packageFolder + path)).mode ?? 0) & 0o777;
    assert.deepEqual(await Promise.all(["", "/lib", "/lib/mod.ts", "/plugin.jsonc"].map(modeOf)), [
      0o555,
      0o555,
      0o444,
      0o444,
    ]);
  });
});

Deno.test("verifyPackage() finds every kind of damage, and put() repairs it", async () => {
  await withStore(async (plugins, store) => {
    await writePlugin(`${plugins}/hello`, "hello", "abc");
    const deps = { ...options, store };
    const plugin = await readOne(`${plugins}/hello`, deps);
    assert.ok(plugin.kind === "admitted");
    const { digest, packageFolder } = plugin;
    // Made writable first, so that the test does not depend on being root.
    const damages: (() => Promise<unknown>)[] = [
      () => Deno.writeTextFile(`${packageFolder}/lib/mod.ts`, "abd"),
      () => Deno.writeTextFile(`${packageFolder}/lib/mod.ts`, ""),
      () => Deno.remove(`${packageFolder}/lib/mod.ts`),
      () => Deno.writeTextFile(`${packageFolder}/extra.ts`, ""),
      () => Deno.writeTextFile(`${packageFolder}/SHA256SUMS`, ""),
      () => Deno.rename(`${packageFolder}/lib`, `${packageFolder}/src`),
      () => Deno.symlink("/etc/passwd", `${packageFolder}/link`),
      () => Deno.remove(packageFolder, { recursive: true }),
      async () => {
        await Deno.remove(packageFolder, { recursive: true });
        await Deno.symlink(`${plugins}/hello`, packageFolder);
      },
    ];
    for (const damage of damages) {
      await verifyPackage(packageFolder, digest, limits);
      await new Deno.Command("chmod", { args: ["-R", "u+w", packageFolder] }).output();
      await damage();
      await assert.rejects(store.verify(digest), { code: "PLUGIN_REJECTED" }, String(damage));
      assert.deepEqual(await readOne(`${plugins}/hello`, deps), plugin);
    }
    assert.equal(await Deno.readTextFile(`${plugins}/hello/lib/mod.ts`), "abc");
  });
});

Deno.test("PackageStore.collectGarbage() removes what is not kept, and what a crash left", async () => {
  await withStore(async (plugins, store, data) => {
    const digests = [];
    for (const id of ["a", "b", "c"]) {
      await writePlugin(`${plugins}/${id}`, id);
      const plugin = await readOne(`${plugins}/${id}`, { ...options, store });
      assert.ok(plugin.kind === "admitted");
      digests.push(plugin.digest);
    }
    await Deno.mkdir(`${data}/packages/.new-left/lib`, { recursive: true });
    await Deno.chmod(`${data}/packages/.new-left`, 0o555);
    const [kept, ...others] = digests;
    assert.deepEqual(await store.collectGarbage(new Set([kept])), [".new-left", ...others].sort());
    await store.verify(kept);
    for (const digest of others) await assert.rejects(store.verify(digest), /it is not in the store/);
    assert.throws(() => store.folderOf("../../etc"), RangeError);
  });
});

Deno.test("PackageStore.put() of one package many times at once writes it once", async () => {
  await withStore(async (plugins, store, data) => {
    await writePlugin(`${plugins}/hello`, "hello");
    const read = () => readOne(`${plugins}/hello`, { ...options, store });
    const [first, ...others] = await Promise.all(Array.from({ length: 8 }, read));
    for (const other of others) assert.deepEqual(other, first);
    assert.equal([...Deno.readDirSync(`${data}/packages`)].length, 1);
  });
});

Deno.test("PackageStore.collectGarbage() takes its turn among packages that are being written", async () => {
  await withStore(async (plugins, store, data) => {
    const packages = await Promise.all(["a", "b", "c"].map(async (id) => {
      await writePlugin(`${plugins}/${id}`, id);
      const read = await readPackage(`${plugins}/${id}`, options);
      assert.ok(read.ok);
      return read.package;
    }));
    const [a, b, c] = packages;
    assert.ok(a && b && c);
    const [, , removed] = await Promise.all([
      ...[a, b].map((read) => store.put(read)),
      store.collectGarbage(new Set([b.digest])),
      ...[a, c].map((read) => store.put(read)),
    ]);
    assert.deepEqual(removed, [a.digest]);
    for (const { digest } of packages) await store.verify(digest);
    assert.equal([...Deno.readDirSync(`${data}/packages`)].length, 3);
  });
});

// The kernel has no more than this: see "Three kinds of process".
Deno.test("scanPluginFolders() needs read of the folders and write of the data folder only", async () => {
  await withStore(async (plugins, _store, data) => {
    await writePlugin(`${plugins}/hello`, "hello");
    await writePlugin(`${plugins}/linked`, "linked");
    await Deno.symlink("/etc/passwd", `${plugins}/linked/lib/passwd`);
    const script = `
      import { createPackageStore } from "${import.meta.resolve("./package_store.ts")}";
      import { scanPluginFolders } from "${import.meta.resolve("./registry.ts")}";
      const store = await createPackageStore("${data}/packages", ${JSON.stringify(limits)});
      const scan = () => scanPluginFolders(["${plugins}"], { ...${JSON.stringify(options)}, store });
      const { plugins: [first, second] } = await scan();
      await store.verify(first.digest);
      await Deno.chmod(first.packageFolder, 0o755);
      await Deno.writeTextFile(first.packageFolder + "/extra", "");
      await scan();
      await store.verify(first.digest);
      await store.collectGarbage(new Set());
      console.log(first.kind, second.error.message);
    `;
    const child = new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "--no-prompt",
        "--config",
        new URL(import.meta.resolve("../../deno.json")).pathname,
        `--allow-read=${plugins},${data}`,
        `--allow-write=${data}`,
        "-",
      ],
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(script));
    await writer.close();
    const { stdout, stderr } = await child.output();
    assert.equal(
      new TextDecoder().decode(stdout),
      `admitted Cannot admit "${plugins}/linked": "lib/passwd" is a link\n`,
      new TextDecoder().decode(stderr),
    );
    assert.deepEqual([...Deno.readDirSync(`${data}/packages`)], []);
  });
});

Deno.test("readOne() tells of a package it rejects whether its manifest calls it critical", async () => {
  await withStore(async (plugins, store) => {
    for (const critical of [true, false]) {
      const folder = `${plugins}/${critical}`;
      await Deno.mkdir(folder);
      await Deno.writeTextFile(`${folder}/plugin.jsonc`, JSON.stringify({ id: "gate", critical, typo: 1 }));
      const scanned = await readOne(folder, { ...options, store });
      assert.ok(scanned.kind === "rejected");
      assert.deepEqual([scanned.id, scanned.isCritical], ["gate", critical]);
    }
  });
});

Deno.test("readOne() tells of a package it rejects what could be read of it", async () => {
  await withStore(async (plugins, store) => {
    const good = { id: "gate", version: "1.0.0", airlock: "*", entrypoint: "mod.ts", actions: { run: {} } };
    const read = async (name: string, manifest: unknown, tamper = (_: string) => Promise.resolve()) => {
      const folder = `${plugins}/${name}`;
      await Deno.mkdir(folder);
      await Deno.writeTextFile(`${folder}/plugin.jsonc`, JSON.stringify(manifest));
      await tamper(folder);
      const scanned = await readOne(folder, { ...options, store });
      assert.ok(scanned.kind === "rejected");
      return [scanned.name, scanned.digest?.length];
    };
    assert.deepEqual(await read("incomplete", good), ["gate@1.0.0", 64], "its entrypoint is missing");
    assert.deepEqual(await read("mistyped", { ...good, typo: 1 }), [undefined, 64]);
    const link = (folder: string) => Deno.symlink("/etc/passwd", `${folder}/mod.ts`);
    assert.deepEqual(await read("linked", good, link), ["gate@1.0.0", undefined]);
  });
});

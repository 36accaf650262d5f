import { equal, match } from "node:assert/strict";
import { Airlock, temporaryFolder } from "../support/airlock.ts";

Deno.test("settings: flags win over variables, those over airlock.jsonc, that over defaults", async () => {
  await using folder = await temporaryFolder();
  const { path } = folder;
  const config =
    `{ "host": "127.0.0.2", "port": 0, "data": "${path}/file", "cells": { "tier": "process" }, }`;
  await Deno.writeTextFile(`${path}/airlock.jsonc`, config);
  const env = { AIRLOCK_HOST: "127.0.0.3", AIRLOCK_DATA: `${path}/variable` };
  const starts: [flags: string[], env: Record<string, string>, host: string, data: string][] = [
    [[], {}, "127.0.0.2", "file"],
    [[], env, "127.0.0.3", "variable"],
    [["--host", "127.0.0.4", "--data", `${path}/flag`], env, "127.0.0.4", "flag"],
  ];
  for (const [flags, variables, host, data] of starts) {
    await using airlock = await Airlock.start({
      flags,
      env: variables,
      cwd: path,
      dataDir: `${path}/${data}`,
    });
    equal(new URL(airlock.url).hostname, host);
    match(airlock.output.stdout, /^isolation {2}process: the configuration asks for it$/m);
    equal((await Deno.stat(`${path}/${data}/admin.token`)).isFile, true);
  }
});

Deno.test("settings: --config names another file, and --plugins adds folders to the bundled ones", async () => {
  await using folder = await temporaryFolder();
  const { path } = folder;
  await Deno.writeTextFile(`${path}/airlock.jsonc`, "this one is not read");
  await Deno.writeTextFile(`${path}/other.jsonc`, '{ "host": "127.0.0.5" }');
  for (const name of ["one", "two"]) {
    await Deno.mkdir(`${path}/${name}/${name}`, { recursive: true });
    const manifest = {
      id: name,
      version: "1.0.0",
      airlock: ">=0.1.0 <1.0.0",
      entrypoint: "mod.ts",
      actions: { run: {} },
    };
    await Deno.writeTextFile(`${path}/${name}/${name}/plugin.jsonc`, JSON.stringify(manifest));
    await Deno.writeTextFile(
      `${path}/${name}/${name}/mod.ts`,
      `export const actions = { run: () => "${name}" };`,
    );
  }
  const flags = ["--config", `${path}/other.jsonc`, "--port", "0", "--data", `${path}/data`];
  const folders = ["--plugins", "one", "--plugins", `${path}/two`];
  await using airlock = await Airlock.start({
    flags: [...flags, ...folders],
    cwd: path,
    dataDir: `${path}/data`,
  });
  equal(new URL(airlock.url).hostname, "127.0.0.5");
  equal(await airlock.call("one", "run"), "one");
  equal(await airlock.call("two", "run"), "two");
  await airlock.call("hello", "greet", { name: "x" });
});

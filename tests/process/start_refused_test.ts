import { equal, match } from "node:assert/strict";
import { Airlock, serveCommand, temporaryFolder } from "../support/airlock.ts";
import { runServe, runToEnd } from "../support/processes.ts";

Deno.test("airlock refuses a data folder that another one is running on", async () => {
  await using airlock = await Airlock.start();
  const { code, stdout, stderr } = await runServe(["--port", "0", "--data", airlock.dataDir]);
  equal(code, 1);
  equal(stdout, "");
  match(stderr, /Cannot use data folder ".*": another Airlock is running on it/);
  equal((await airlock.request("GET", "/healthz")).status, 200);
});

Deno.test("airlock refuses a port in use, and does not try again and again", async () => {
  await using folder = await temporaryFolder();
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  const { code, stdout, stderr } = await runServe(["--port", String(port), "--data", `${folder.path}/data`]);
  equal(code, 1);
  equal(stdout, "");
  match(stderr, new RegExp(`Cannot listen on .*${port}.*in use`, "i"));
  equal(stderr.match(/Cannot listen/g)?.length, 1);
  // Nothing of the attempt stays in the way of the next one.
  await using airlock = await Airlock.start({ dataDir: `${folder.path}/data` });
  equal((await airlock.request("GET", "/healthz")).status, 200);
});

const brokenConfigs: [what: string, text: string, message: RegExp][] = [
  ["that is not JSONC", '{\n  // fine\n  "port": 1,\n  "host" "x"\n}', /line 4/],
  ["with a misspelt key", '{\n  "port": 0,\n  "hosst": "127.0.0.1"\n}', /line 3: \/hosst .*"host"/],
  [
    "with values of the wrong type",
    '{\n  "port": "many",\n  "cells": {\n    "awakeMax": 0\n  }\n}',
    /line 2: \/port[\s\S]*line 4: \/cells\/awakeMax/,
  ],
  ["that grants to nobody", '{\n  "grants": { "Not An Id": {} }\n}', /line 2: \/grants/],
];

for (const [what, text, message] of brokenConfigs) {
  Deno.test(`airlock refuses an airlock.jsonc ${what}, and says where`, async () => {
    await using folder = await temporaryFolder();
    await Deno.writeTextFile(`${folder.path}/airlock.jsonc`, text);
    const { code, stdout, stderr } = await runServe(["--port", "0", "--data", `${folder.path}/data`], {
      cwd: folder.path,
    });
    equal(code, 1);
    equal(stdout, "");
    match(stderr, /airlock\.jsonc/);
    match(stderr, message);
  });
}

const badFlags: [flags: string[], message: RegExp][] = [
  [["--prot", "1"], /--prot/],
  [["--port", "many"], /--port "many": it must be a port from 0 to 65535/],
  [["--port", "65536"], /port/],
  [["--port"], /--port/],
  [["--tier", "open"], /tier/],
  [["--config", "/nowhere/airlock.jsonc"], /\/nowhere\/airlock\.jsonc/],
  [["--plugins", "/nowhere/plugins", "--port", "0"], /\/nowhere\/plugins.*does not exist/],
  [["extra"], /extra/],
];

for (const [flags, message] of badFlags) {
  Deno.test(`airlock refuses "serve ${flags.join(" ")}" with a message`, async () => {
    await using folder = await temporaryFolder();
    const data = flags.includes("--data") ? [] : ["--data", `${folder.path}/data`];
    const options = { cwd: folder.path, env: { TMPDIR: folder.path } };
    const { code, stdout, stderr } = await runServe([...data, ...flags], options);
    equal(code === 0, false);
    equal([...Deno.readDirSync(folder.path)].some(({ name }) => name.startsWith("airlock-")), false);
    equal(stdout, "");
    match(stderr, message);
    equal(/^\s+at .*:[0-9]+/m.test(stderr), false, `a stack trace is not a message: ${stderr}`);
  });
}

Deno.test("airlock refuses a command that it does not have", async () => {
  const main = serveCommand.slice(0, -1);
  const { code, stdout, stderr } = await runToEnd([...main, "sevre"]);
  equal(code === 0, false);
  equal(stdout, "");
  match(stderr, /sevre/);
});

Deno.test("airlock refuses a plugin folder with a comma, which no permission flag can name", async () => {
  await using folder = await temporaryFolder();
  const plugins = `${folder.path}/a,b`;
  await Deno.mkdir(plugins);
  const flags = ["--port", "0", "--data", `${folder.path}/data`, "--plugins", plugins];
  const { code, stdout, stderr } = await runServe(flags);
  equal(code === 0, false);
  equal(stdout, "");
  match(stderr, /^Cannot use plugin folder ".*a,b": .* comma$/m);
});

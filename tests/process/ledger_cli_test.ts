/**
 * `airlock ledger` as it is typed: main.ts as a process beside a real Airlock, offline over its folder, copies of it
 * and bundles, and over HTTP while its kernel dies.
 *
 * @module
 */
import { deepEqual, equal, match, ok } from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { signCheckpoint } from "../../kernel/ledger/checkpoint.ts";
import { createSigner, createVerifier } from "../../kernel/ledger/signed_note.ts";
import { Airlock, temporaryFolder, until } from "../support/airlock.ts";

const command = [Deno.execPath(), "run", "--quiet", "-A", "--cached-only", "main.ts", "ledger"];
const root = new URL("../../", import.meta.url).pathname;

interface Run {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

interface RunOptions {
  readonly stdin?: string;
  readonly env?: Record<string, string>;
  readonly cwd?: string;
}

function spawn(args: readonly string[], { env = {}, cwd = root }: RunOptions = {}): Deno.ChildProcess {
  const [program = "", ...first] = command.map((part) => part === "main.ts" ? `${root}main.ts` : part);
  return new Deno.Command(program, {
    args: [...first, ...args],
    cwd,
    env: { AIRLOCK_TOKEN: "", ...env },
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

async function run(args: readonly string[], options: RunOptions = {}): Promise<Run> {
  const child = spawn(args, options);
  const writer = child.stdin.getWriter();
  // It may end without having read any of it.
  await writer.write(new TextEncoder().encode(options.stdin ?? "")).then(() => writer.close(), () => {});
  const { code, stdout, stderr } = await child.output();
  return { code, stdout: new TextDecoder().decode(stdout), stderr: new TextDecoder().decode(stderr) };
}

/** Its exit code must be `code`. */
async function expectRun(code: number, args: readonly string[], options?: RunOptions): Promise<Run> {
  const found = await run(args, options);
  equal(found.code, code, `ledger ${args.join(" ")}: ${found.stdout}${found.stderr}`);
  return found;
}

async function readText(airlock: Airlock, path: string): Promise<string> {
  const response = await airlock.fetch("GET", path);
  const text = await response.text();
  equal(response.status, 200, text);
  return text;
}

async function copyFolder(from: string, to: string): Promise<void> {
  await Deno.mkdir(to, { recursive: true });
  for await (const { name, isDirectory } of Deno.readDir(from)) {
    if (isDirectory) await copyFolder(`${from}/${name}`, `${to}/${name}`);
    else await Deno.copyFile(`${from}/${name}`, `${to}/${name}`);
  }
}

const otherKey = createVerifier("x", generateKeyPairSync("ed25519").publicKey).text;
const firstLog = "log/00000000000000000000.ndjson";

/** Greets, and gives the checkpoint that came with the answer, in base64. */
async function greet(airlock: Airlock): Promise<string> {
  const { headers } = await airlock.invoke("hello", "greet", { name: "x" });
  return headers.get("airlock-checkpoint") ?? "";
}

/** Until the checkpoint on disk has all entries: it follows the log within an interval. */
async function publishedSize(airlock: Airlock): Promise<number> {
  const { body } = await airlock.request<{ size: number }>("GET", "/v1/ledger/checkpoint?format=json");
  await until("the checkpoint published", async () => {
    const [, size] = (await Deno.readTextFile(`${airlock.dataDir}/ledger/checkpoint`)).split("\n");
    return Number(size) === body.size;
  });
  return body.size;
}

Deno.test("ledger verify says yes to the folder of a running kernel and to a bundle, under the right key alone", async () => {
  await using airlock = await Airlock.start();
  const anchor = await greet(airlock);
  await greet(airlock);
  const key = await readText(airlock, "/v1/ledger/key");
  const size = await publishedSize(airlock);
  const { dataDir, folder } = airlock;
  await Deno.writeTextFile(`${folder}/key`, `${otherKey}\n${key}\n`);
  await Deno.writeTextFile(`${folder}/anchor`, new TextDecoder().decode(Uint8Array.fromBase64(anchor)));
  const bundle = await readText(airlock, "/v1/ledger/export?from=3");
  await Deno.writeTextFile(`${folder}/bundle`, bundle);

  const { stdout, stderr } = await expectRun(0, ["verify", dataDir, "--key", key, "--anchor", anchor]);
  match(stdout, new RegExp(`^verified: ${size} entries of airlock-[0-9a-f]+$`, "m"));
  match(stdout, /^root hash: [0-9a-f]{64}$/m);
  ok(stdout.includes(`signed by: ${key}\n`));
  match(stdout, /the anchor of \d+ entries$/m);
  equal(stderr, "", "no bar: stderr is no terminal");
  match((await expectRun(0, ["verify", dataDir, "--key", key])).stdout, /^not shown, without --anchor: /m);

  const json = [
    "verify",
    `${dataDir}/ledger`,
    "--key",
    `${folder}/key`,
    "--anchor",
    `${folder}/anchor`,
    "--json",
  ];
  const found = JSON.parse((await expectRun(0, json)).stdout);
  deepEqual([found.verified, found.firstBadEntry, found.reason, found.size], [true, null, null, size]);
  deepEqual(found.signedBy, [key]);

  match(
    (await expectRun(0, ["verify", `${folder}/bundle`, "--key", key])).stdout,
    new RegExp(`^verified: entries 3 to ${size - 1} of airlock`),
  );
  await expectRun(0, ["verify", "-", "--key", key, "--anchor", anchor], { stdin: bundle });
  for (const target of [dataDir, `${folder}/bundle`]) {
    const { stdout } = await expectRun(1, ["verify", target, "--key", otherKey]);
    match(stdout, /^NOT VERIFIED\nreason: .*key/);
  }
});

Deno.test("ledger verify names the first bad entry, and finds a cut tail with an anchor only", async () => {
  await using airlock = await Airlock.start();
  await using copies = await temporaryFolder();
  await greet(airlock);
  const key = await readText(airlock, "/v1/ledger/key");
  await publishedSize(airlock);
  const { dataDir, folder } = airlock;
  const [whole, cut, changed] = ["whole", "cut", "changed"].map((name) => `${copies.path}/${name}`);
  for (const to of [whole, cut, changed]) await copyFolder(`${dataDir}/ledger`, `${to}`);
  const anchor = await greet(airlock);

  const lines = (await Deno.readTextFile(`${whole}/${firstLog}`)).split("\n");
  await Deno.writeTextFile(`${cut}/${firstLog}`, `${lines.slice(0, 10).join("\n")}\n`);
  const rewritten = lines.with(7, (lines[7] ?? "").replace(/@1\.0\.0/, "@1.0.1"));
  await Deno.writeTextFile(`${changed}/${firstLog}`, rewritten.join("\n"));
  for (const [path, first] of [[cut, 10], [changed, 7]] as const) {
    match(
      (await expectRun(1, ["verify", `${path}`, "--key", key])).stdout,
      new RegExp(`^first bad entry: ${first}$`, "m"),
    );
    const found = JSON.parse((await expectRun(1, ["verify", `${path}`, "--key", key, "--json"])).stdout);
    deepEqual([found.verified, found.firstBadEntry, found.changedFrom], [false, first, null]);
    match(found.reason, /./);
  }
  // Without tiles nothing says what the entries were of which two in a row were changed.
  const both = rewritten.with(8, (lines[8] ?? "").replace(/"type":"[a-z]/, `"type":"z`));
  await Deno.writeTextFile(`${changed}/${firstLog}`, both.join("\n"));
  await Deno.remove(`${changed}/tiles`, { recursive: true });
  const unsure = ["verify", changed ?? "", "--key", key];
  const { stdout } = await expectRun(1, unsure);
  match(
    stdout,
    /^NOT VERIFIED\nchanged: entry (\d+) or one after it\nreason: .*: entry \1 or one after it was changed$/m,
  );
  const found = JSON.parse((await expectRun(1, [...unsure, "--json"])).stdout);
  deepEqual([found.verified, found.firstBadEntry, found.changedFrom <= 7], [false, null, true]);
  // Nobody's checkpoint says nothing against an entry.
  await Deno.writeTextFile(`${whole}/checkpoints.log`, "!!!!\n");
  const other = await expectRun(1, ["verify", whole ?? "", "--key", key]);
  match(other.stdout, /^NOT VERIFIED\nreason: line 1 of checkpoints\.log is not base64 of a text$/m);
  await Deno.copyFile(`${cut}/checkpoints.log`, `${whole}/checkpoints.log`);
  const bundle = (await readText(airlock, "/v1/ledger/export")).replace('"hello@1.0.0"', '"hello@1.0.1"');
  await Deno.writeTextFile(`${folder}/bundle`, bundle);
  match((await expectRun(1, ["verify", `${folder}/bundle`, "--key", key])).stdout, /^first bad entry: \d+$/m);

  // All that was signed at some time is sound, and only who kept something newer knows better.
  await expectRun(0, ["verify", `${whole}`, "--key", key]);
  match(
    (await expectRun(1, ["verify", `${whole}`, "--key", key, "--anchor", anchor])).stdout,
    /^reason: .*anchor/m,
  );
});

Deno.test("ledger says what is wrong with a command and what cannot be read, by its exit code and in words", async () => {
  await using folder = await temporaryFolder();
  const { path } = folder;
  await Deno.writeTextFile(`${path}/empty`, "");
  await Deno.mkdir(`${path}/half/ledger`, { recursive: true });
  const half = signCheckpoint({ origin: "x", size: 1, rootHash: "00".repeat(32) }, [
    createSigner("x", generateKeyPairSync("ed25519").privateKey),
  ]);
  for (const name of ["checkpoint", "checkpoints.log"]) {
    await Deno.writeTextFile(`${path}/half/ledger/${name}`, half);
  }
  const rows: readonly [code: number, args: string[], message: RegExp][] = [
    [0, [], /^airlock ledger: .*\n[^]*Exit codes: /],
    [0, ["verify", "--help"], /--anchor CHECKPOINT/],
    [0, ["show", "--help"], /--actor {5}kernel, config, or token:<id>/],
    [2, ["verfy"], /the commands are verify, keys and show/],
    [2, ["verify"], /no ledger is named/],
    [2, ["verify", path], /no --key/],
    [2, ["verify", path, "--key", `${otherKey}x`], /Cannot read verifier key/],
    [2, ["verify", path, "--key", `${path}/empty`], /no key is in it/],
    [2, ["verify", path, "--key", otherKey, "--anchor", `${path}/empty`], /not a signed checkpoint/],
    [2, ["verify", path, "--key", otherKey, "--ancor", "x"], /no flag --ancor, did you mean --anchor\?/],
    [2, ["verify", path, "more", "--key", otherKey], /"more" is one word too many/],
    [2, ["show", "--limit", "0"], /--limit: it must be a whole number, 1 or more/],
    [2, ["show", "--since", "yesterday"], /2026-11-20T10:00:00Z/],
    [2, ["show", "--type", "call"], /call\.accepted, or call\.\*/],
    [2, ["show", "--url", "localhost:8787"], /an address such as/],
    [3, ["verify", path, "--key", otherKey], /it has no ledger; give the data folder/],
    [3, ["verify", `${path}/none`, "--key", otherKey], /it is not there; give a data folder/],
    [3, ["verify", path, "--key", `${path}/none`], /Cannot read key file/],
    [3, ["verify", path, "--key", otherKey, "--anchor", `${path}/none`], /Cannot read anchor/],
    [3, ["keys", path], /it has no ledger/],
    [
      3,
      ["keys", `${path}/half`],
      /: log\/ is gone: a whole ledger has checkpoint, checkpoints\.log and log\/$/m,
    ],
    [3, ["keys"], /Cannot read ledger ".\/data"/],
    [3, ["show"], /Cannot read token file ".\/data\/admin.token": it is not there; give /],
    [3, ["show", "--token-file", `${path}/none`], /AIRLOCK_TOKEN/],
  ];
  for (const [code, args, message] of rows) {
    const { stdout, stderr } = await expectRun(code, args, { cwd: path });
    match(code === 0 ? stdout : stderr, message);
    equal(code === 0 ? stderr : stdout, "", args.join(" "));
  }
});

/** All of it that has been printed so far. */
function collect(child: Deno.ChildProcess) {
  const printed = { stdout: "", stderr: "" };
  const read = async (name: "stdout" | "stderr") => {
    for await (const text of child[name].pipeThrough(new TextDecoderStream())) printed[name] += text;
  };
  return { printed, reading: Promise.all([read("stdout"), read("stderr")]) };
}

Deno.test("ledger show prints the entries that a filter names, and with --json their stored lines", async () => {
  await using airlock = await Airlock.start();
  await greet(airlock);
  const { url, dataDir, token } = airlock;
  const at = ["show", "--url", url, "--token-file", `${dataDir}/admin.token`];
  const log = await Deno.readTextFile(`${dataDir}/ledger/${firstLog}`);
  const all = log.trimEnd().split("\n");
  equal((await expectRun(0, [...at, "--json"])).stdout, log);
  equal(
    (await expectRun(0, ["show", "--url", url, "--json"], { env: { AIRLOCK_TOKEN: token } })).stdout,
    log,
  );
  const times = all.map((line) => JSON.parse(line).time);
  const rows: readonly [
    args: string[],
    isShown: (record: Record<string, string>, index: number) => boolean,
  ][] = [
    [["--type", "call.*"], ({ type }) => /^call\./.test(type ?? "")],
    [
      ["--type", "call.accepted", "--type", "kernel.started"],
      ({ type }) => ["call.accepted", "kernel.started"].includes(type ?? ""),
    ],
    [["--plugin", "hello"], ({ plugin }) => plugin === "hello@1.0.0"],
    [
      ["--plugin", "hello@1.0.0", "--actor", "kernel"],
      ({ plugin, actor }) => plugin === "hello@1.0.0" && actor === "kernel",
    ],
    [
      ["--since", times[10], "--until", times.at(-1)],
      (_, index) => times[index] >= times[10] && times[index] < times.at(-1),
    ],
    [["--after", "3", "--limit", "2"], (_, index) => index === 4 || index === 5],
  ];
  for (const [args, isShown] of rows) {
    const expected = all.filter((line, index) => isShown(JSON.parse(line), index));
    ok(expected.length > 0, args.join(" "));
    equal(
      (await expectRun(0, [...at, ...args, "--json"])).stdout,
      expected.map((line) => `${line}\n`).join(""),
    );
  }
  match(
    (await expectRun(0, [...at, "--type", "call.accepted"])).stdout,
    /^ +\d+ {2}\S+Z {2}call.accepted +token:[0-9a-f]+ {2}hello@1.0.0 {2}action=greet .*$/m,
  );
  match(
    (await expectRun(3, ["show", "--url", url], { env: { AIRLOCK_TOKEN: "wrong" } })).stderr,
    /does not know this token/,
  );
});

Deno.test("ledger show lets nothing through that a terminal obeys, whatever the entries and the problems hold", async () => {
  const hostile = "\x1b]0;x\x07\x9b31m\u202e\u2028";
  const line = JSON.stringify({
    ...{ v: 1, seq: 0, time: "2026-11-20T10:00:00.000Z", type: "a.b", actor: hostile, plugin: hostile },
    ...{ data: { [hostile]: hostile }, prev: "0".repeat(64) },
  });
  const leafHash = "0".repeat(64);
  await using server = Deno.serve({ port: 0, onListen() {} }, ({ url }) => {
    if (url.includes("plugin=fails")) {
      const problem = {
        type: "about:blank",
        title: "x",
        status: 422,
        code: "INPUT_INVALID",
        detail: hostile,
      };
      return Response.json(problem, { status: 422 });
    }
    if (url.includes("checkpoint")) {
      return Response.json({ origin: hostile, size: 2, rootHash: "", note: hostile });
    }
    const items = [line, `no record ${hostile}`].map((line, index) => ({ index, leafHash, line }));
    return Response.json({ items, next: null });
  });
  const env = { AIRLOCK_TOKEN: "x" };
  const url = `http://127.0.0.1:${server.addr.port}`;
  const { stdout } = await expectRun(0, ["show", "--url", url], { env });
  equal(stdout.split("\n").length, 3);
  match(stdout, /^1 {2}NOT A RECORD: /m);
  const { stderr } = await expectRun(3, ["show", "--url", `${url}/\u202e`, "--plugin", "fails"], { env });
  equal(/[\p{C}\p{Zl}\p{Zp}]/u.exec((stdout + stderr).replaceAll("\n", "")), null);
});

Deno.test("ledger show --follow loses and repeats no entry while the kernel is killed, and ends at SIGINT with 0", async () => {
  await using airlock = await Airlock.start();
  const { url, dataDir } = airlock;
  const child = spawn(["show", "--follow", "--json", "--url", url, "--token-file", `${dataDir}/admin.token`]);
  await child.stdin.close();
  const { printed, reading } = collect(child);
  const shown = () => printed.stdout.split("\n").slice(0, -1);
  await greet(airlock);
  await until("the call shown", () => shown().some((line) => line.includes("call.completed")));
  for (const killed of [1, 2]) {
    const pid = await airlock.kernelPid();
    // A stopped warden cannot bring it back before anyone has noticed.
    airlock.signal("SIGSTOP");
    Deno.kill(pid, "SIGKILL");
    await until("its end reported", () => printed.stderr.split("trying again").length === killed + 1);
    airlock.signal("SIGCONT");
    await until("the kernel back", () => airlock.kernelPid().then((next) => next !== pid, () => false));
    await greet(airlock);
    const count = (await airlock.records()).length;
    await until("all shown", () => shown().length >= count, 10_000);
  }
  match(printed.stderr, /The kernel is back/);
  const log = await Deno.readTextFile(`${dataDir}/ledger/${firstLog}`);
  equal(printed.stdout, log);
  child.kill("SIGINT");
  const { code } = await child.status;
  await reading;
  equal(code, 0, printed.stderr);
});

Deno.test("ledger show --follow ends when nobody reads what it prints", async () => {
  await using airlock = await Airlock.start();
  const { url, dataDir } = airlock;
  const child = spawn(["show", "--follow", "--url", url, "--token-file", `${dataDir}/admin.token`]);
  const writer = child.stdin.close();
  const stderr = new Response(child.stderr).text();
  const reader = child.stdout.getReader();
  await reader.read();
  await reader.cancel();
  await greet(airlock);
  const { code } = await child.status;
  await writer;
  equal(code, 0, await stderr);
});

Deno.test("ledger keys shows which key signs from where on", async () => {
  await using airlock = await Airlock.start();
  const first = await readText(airlock, "/v1/ledger/key");
  const rotate = await airlock.request<{ key: string; ledger: { index: number } }>(
    "POST",
    "/v1/ledger/key/rotate",
  );
  const retire = await airlock.request<{ ledger: { index: number } }>("POST", "/v1/ledger/key/retire");
  await publishedSize(airlock);
  const keys = [
    { key: first, from: 0, until: retire.body.ledger.index },
    { key: rotate.body.key, from: rotate.body.ledger.index, until: null },
  ];
  const { stdout } = await expectRun(0, ["keys", airlock.dataDir, "--json"]);
  deepEqual(JSON.parse(stdout), { keys });
  const text = await expectRun(0, ["keys", airlock.dataDir]);
  deepEqual(text.stdout.split("\n"), [
    `${first}  signed from entry 0 to ${keys[0]?.until}`,
    `${rotate.body.key}  signs from entry ${keys[1]?.from} on`,
    "",
  ]);
  match(text.stderr, /believe a key that you got elsewhere/);
  // The old key led to the new one.
  await expectRun(0, ["verify", airlock.dataDir, "--key", first]);
  await expectRun(0, ["verify", airlock.dataDir, "--key", rotate.body.key]);
});

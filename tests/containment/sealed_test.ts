/**
 * The sealed tier: what was not granted does not exist, even for a program that the plugin may run and that
 * asks Deno for nothing.
 *
 * @module
 */
import { deepEqual, equal, match, ok } from "node:assert/strict";
import { Airlock, until } from "../support/airlock.ts";
import { testSealed, testWith } from "../support/tiers.ts";
import { checkRows, listenOnNeighbours, makeResources, probePackage, runIn } from "./support.ts";

const programs = ["cat", "ls", "env", "unshare", "mount", "perl", "chmod"].map((name) => `/usr/bin/${name}`);

/** A plugin "runner" that may run the programs above; `net` is what it may reach. */
async function startRunner(read: string[], net: string[] = []): Promise<Airlock> {
  return await Airlock.start({
    args: ["--tier", "sealed"],
    env: { PROBE_SECRET: "secret", LD_LIBRARY_PATH: "/nowhere", PATH: Deno.env.get("PATH") ?? "" },
    plugins: {
      runner: probePackage("runner", {
        capabilities: { run: ["*"], read: ["*"], net: ["*"] },
        limits: { fileDescriptors: 1_024 },
      }),
      neighbour: probePackage("neighbour"),
    },
    config: { grants: { runner: { run: programs, read, net } } },
  });
}

testSealed("a granted program finds what was granted, and no other file of the host (sealed)", async () => {
  await using resources = await makeResources();
  await using airlock = await startRunner([`${resources.path}/a`, `${resources.path}/one`]);
  await airlock.call("neighbour", "write", { path: `${airlock.dataDir}/plugins/neighbour/x`, text: "x" });
  const granted = ["a/file", "one"].map((file) => `${resources.path}/${file}`);
  const { stdout } = await runIn(airlock, "runner", "/usr/bin/cat", ...granted);
  equal(stdout, "a/fileone");

  const { packageSha256 } = await airlock.plugin("neighbour");
  const hidden = [
    ...["ab", "one2"].map((name) => `${resources.path}/${name}`),
    ...["admin.token", "airlock.db", "commitments.db", "ledger", "warden.lock", "run"],
    ...["plugins/neighbour", "plugins/hello", `packages/${packageSha256}`],
  ].map((path) => path.startsWith("/") ? path : `${airlock.dataDir}/${path}`);
  const elsewhere = [
    ...["/etc/passwd", "/etc/shadow", "/etc/hostname", "/var", "/run", "/sys", "/boot", "/home"],
    ...[`${airlock.folder}/plugins`, `${airlock.folder}/airlock.jsonc`],
    ...["main.ts", "deno.json", "kernel"].map((path) => new URL(`../../${path}`, import.meta.url).pathname),
  ];
  for (const path of [...hidden, ...elsewhere]) {
    const { code, stdout, stderr } = await runIn(airlock, "runner", "/usr/bin/ls", "-d", path);
    deepEqual({ path, code, stdout }, { path, code: 2, stdout: "" });
    match(stderr, /No such file or directory/);
  }
  // On the way to what was granted there is nothing else.
  for (const [folder, names] of [[resources.path, "a\none\n"], [airlock.dataDir, "packages\nplugins\n"]]) {
    equal((await runIn(airlock, "runner", "/usr/bin/ls", "-A", folder ?? "")).stdout, names);
  }
});

testSealed("a granted program sees no process of the host and no variable of it (sealed)", async () => {
  await using airlock = await startRunner([]);
  const { stdout: environment } = await runIn(airlock, "runner", "/usr/bin/env");
  const names = environment.trim().split("\n").map((line) => line.split("=")[0] ?? "");
  deepEqual(names.filter((name) => !name.startsWith("DENO_")).sort(), [
    ...["HOME", "NO_COLOR", "PATH", "PWD", "TMPDIR"],
  ]);
  const list = 'for (glob "/proc/[0-9]*/cmdline") { open F, $_; print "$_ ", <F>, "\\n" }';
  const { stdout: processes } = await runIn(airlock, "runner", "/usr/bin/perl", "-e", list);
  const commands = processes.trim().split("\n").map((line) => line.split(" ")[1]?.split("\0")[0]);
  // The first process of the namespace, the cell, and the program itself.
  deepEqual(commands.sort(), ["/usr/bin/bwrap", "/usr/bin/perl", Deno.realPathSync(Deno.execPath())].sort());
  ok(!processes.includes("kernel"));
  for (const secret of ["PROBE_SECRET", "secret", airlock.token]) ok(!processes.includes(secret));
  const read = 'for (glob "/proc/[0-9]*/environ") { open F, $_; print <F> }';
  const { stdout: environments } = await runIn(airlock, "runner", "/usr/bin/perl", "-e", read);
  ok(environments.includes("DENO_DIR"));
  ok(!environments.includes("PROBE_SECRET"));
});

testSealed("a granted program gains nothing and can change nothing of the host (sealed)", async () => {
  await using airlock = await startRunner([]);
  const run = (program: string, ...args: string[]) =>
    runIn(airlock, "runner", `/usr/bin/${program}`, ...args);
  const { stdout: status } = await run("cat", "/proc/self/status");
  for (const set of ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]) {
    match(status, new RegExp(`^${set}:\\t0{16}$`, "m"));
  }
  match(status, /^NoNewPrivs:\t1$/m);
  for (const namespace of ["--user", "--mount", "--pid", "--net"]) {
    const { code, stderr } = await run("unshare", namespace, "/usr/bin/env");
    deepEqual({ namespace, failed: code !== 0 }, { namespace, failed: true });
    match(stderr, /unshare failed/);
  }
  for (const path of ["/", "/usr", "/proc", "/dev"]) {
    const { code } = await run("mount", "-o", "remount,rw,bind", path);
    deepEqual({ path, failed: code !== 0 }, { path, failed: true });
  }
  // Kernel parameters ask user 0 of the host for no capability, and that is what a cell is under root.
  const places = [
    ...["/usr/bin/planted", "/etc/planted", "/dev/planted", "/planted", "/lib/planted"],
    ...["/proc/sys/kernel/core_pattern", "/proc/sys/vm/drop_caches", "/proc/sys/kernel/hostname"],
    ...["/proc/sysrq-trigger", "/proc/1/oom_score_adj", "/proc/self/uid_map"],
    new URL("../../sandbox/dist/guest.js", import.meta.url).pathname,
  ];
  for (const path of places) {
    const { stdout } = await run("perl", "-e", `open(F, ">>", "${path}") ? print "open" : print "$!"`);
    match(`${path}: ${stdout}`, /: (?:Read-only file system|No such file or directory|Permission denied)$/);
  }
  // What looks like a folder of the host on the way to a granted one is memory of the cell.
  equal(
    (await run("perl", "-e", `open(F, ">", "${airlock.dataDir}/planted") && print "open"`)).stdout,
    "open",
  );
  deepEqual([...Deno.readDirSync(airlock.dataDir)].filter(({ name }) => name === "planted"), []);
  // For every other cell it is the way in.
  const { code, stderr } = await run("chmod", "000", `${airlock.runFolder}/s`);
  deepEqual({ code, isReadOnly: /Read-only/.test(stderr) }, { code: 1, isReadOnly: true });
  await checkRows(airlock, "neighbour", [["readStdin", {}, null]]);
});

const connect = (port: number) =>
  `print IO::Socket::INET->new(PeerAddr => "127.0.0.1:${port}", Timeout => 2) ? "connected" : "$!"`;

testWith(["bwrap", "perl"], "a granted program has no network without a net grant (sealed)", async () => {
  await using servers = await listenOnNeighbours();
  await using airlock = await startRunner([]);
  for (const port of [servers.port, Number(new URL(airlock.url).port)]) {
    const { stdout } = await runIn(
      ...[airlock, "runner", "/usr/bin/perl", "-MIO::Socket::INET", "-e", connect(port)] as const,
    );
    match(stdout, /Connection refused|Network is unreachable/);
  }
  const { stdout: interfaces } = await runIn(airlock, "runner", "/usr/bin/cat", "/proc/net/dev");
  deepEqual([...interfaces.matchAll(/^ *(\w+):/gm)].map(([, name]) => name), ["lo"]);
});

// The socket is bound into every cell, so a program in one can reach it. All it can do there is wait.
testWith(
  ["bwrap", "perl"],
  "a program that crowds the cells' socket does not keep another cell out (sealed)",
  async () => {
    await using airlock = await startRunner([]);
    const hold = `$SIG{PIPE} = "IGNORE"; my @held; for (1 .. 200) {
    push @held, IO::Socket::UNIX->new(Peer => "${airlock.runFolder}/s") || die "held $_: $!";
  } print "held"; $_->syswrite("not a greeting") for @held; sleep 1;`;
    const holding = runIn(airlock, "runner", "/usr/bin/perl", "-MIO::Socket::UNIX", "-e", hold);
    await until("the socket is crowded", () => airlock.output.stderr.includes("Dropped a connection"));
    await checkRows(airlock, "neighbour", [["readStdin", {}, null]]);
    match((await holding).stdout, /^held$/);
    await checkRows(airlock, "runner", [["readStdin", {}, null]]);
  },
);

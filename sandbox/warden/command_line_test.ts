import { deepEqual, equal, match, ok, throws } from "node:assert/strict";
import { cellCommand, kernelCommand } from "./command_line.ts";
import { dataDir, describeCell, host, packageDir } from "./testing_cell.ts";

const files = {
  bundleDir: "/opt/airlock/dist",
  socket: "/tmp/airlock-1/s",
  temporaryDir: "/tmp/airlock-1/1a",
  auditPipe: "/tmp/airlock-1/audit/1",
};
const variables: Record<string, string> = { PATH: "/host/bin", HOME: "/host", SECRET: "s", GRANTED: "g" };
const environment = (name: string) => variables[name];

/** What of a command line is between `first` and `last`, both included. */
function between(args: readonly string[], first: string, last: string): string[] {
  const start = args.indexOf(first);
  return args.slice(start, args.indexOf(last, start) + 1);
}

Deno.test("cellCommand() bounds a cell in the process tier, and ties it to its parent", () => {
  const { program, args, depth, ownSession } = cellCommand(describeCell("process"), files, host, environment);
  deepEqual([program, ownSession, depth], [host.setsid, true, 0]);
  deepEqual(between(args, host.setpriv, "--"), [host.setpriv, "--pdeathsig=KILL", "--no-new-privs", "--"]);
  const shell = args.indexOf(host.sh);
  match(
    args[shell + 2] ?? "",
    /^test "\$PPID" -eq "\$1" && ulimit -c 0 && ulimit -f "\$2" && ulimit -n "\$3" && shift 3 && exec "\$@"$/,
  );
  deepEqual(args.slice(shell + 3, shell + 8), [
    "sh",
    String(Deno.pid),
    String(16 * 2_048),
    "597",
    host.deno,
  ]);
});

Deno.test("cellCommand() closes what the warden inherited before anything else", () => {
  for (const tier of ["process", "sealed"] as const) {
    const { args } = cellCommand(describeCell(tier), files, { ...host, inherited: [3, 9, 12] }, environment);
    equal(args[args.indexOf(host.sh) + 1], "--posix");
    const script = args[args.indexOf(host.sh) + 3] ?? "";
    ok(script.startsWith('test "$PPID" -eq "$1" && exec 3<&- && exec 9<&- && exec 12<&- && '), script);
    ok(script.endsWith('&& exec env -u SHLVL -u _ "$@"'), script);
  }
});

Deno.test("cellCommand() gives Deno no config, no network for code, and every permission by name", () => {
  const { args } = cellCommand(describeCell("process"), files, host, environment);
  const flags = args.slice(args.indexOf(host.deno) + 1);
  equal(flags[0], "run");
  for (
    const flag of ["--no-config", "--no-lock", "--no-prompt", "--no-remote", "--no-npm", "--cached-only"]
  ) {
    ok(flags.includes(flag), flag);
  }
  ok(flags.includes("--deny-import") && flags.includes("--unstable-worker-options"));
  deepEqual(flags.filter((flag) => flag.startsWith("--allow") || flag === "-A"), [
    `--allow-net=unix:${files.socket}`,
    `--allow-read=${packageDir},${dataDir},${files.bundleDir},${files.socket}`,
    `--allow-write=${dataDir},${files.socket}`,
  ]);
  ok(flags.at(-1)?.startsWith(`${files.bundleDir}/`));
  const v8 = flags.find((flag) => flag.startsWith("--v8-flags="));
  ok(v8?.includes("--max-old-space-size=224"));
  ok(v8?.includes("--enable-experimental-regexp-engine-on-excessive-backtracks"));
});

Deno.test("cellCommand() puts nothing secret into arguments or environment", () => {
  for (const tier of ["process", "sealed"] as const) {
    const cell = describeCell(tier);
    const command = cellCommand(cell, files, host, environment);
    ok(!JSON.stringify(command).includes(cell.token));
    ok(!JSON.stringify(command).includes("/host"));
  }
});

/** What the runtime itself is given, whatever the grants. */
const runtimeVariable = /^(?:DENO_[A-Z_]+|NO_COLOR|HOME|TMPDIR|PATH)$/;

Deno.test("cellCommand() gives the environment that was granted, and nothing else of the host's", () => {
  const cell = describeCell("process", { env: ["GRANTED", "ABSENT"] });
  const { env } = cellCommand(cell, files, host, environment);
  deepEqual(Object.entries(env).filter(([name]) => !runtimeVariable.test(name)), [["GRANTED", "g"]]);
  deepEqual([env["HOME"], env["TMPDIR"]], [files.temporaryDir, files.temporaryDir]);
  ok(!env["PATH"]?.includes("host"));
});

Deno.test("cellCommand() wraps a sealed cell, and shows no value of its environment in the arguments", () => {
  const cell = describeCell("sealed", { env: ["GRANTED"], run: ["/usr/bin/env"] });
  const { args, env, depth } = cellCommand(cell, files, host, environment);
  const wrapper = args.indexOf(host.sealed.bwrap);
  const inner = args.indexOf(host.deno, args.indexOf("--chdir"));
  const shell = args.indexOf(host.sh);
  ok(shell >= 0 && shell < wrapper && wrapper < inner);
  equal(args[wrapper - 1], `${files.bundleDir}/seccomp_x86_64.bpf`);
  equal(args[args.indexOf("--seccomp") + 1], "9");
  equal(args[args.indexOf("--sync-fd") + 1], "8");
  ok(args[shell + 2]?.includes(' && exec 9<>"$4" 8<"$4" 9<&- && exec 9<"$5" && '));
  equal(args[inner - 1], "--");
  equal(depth, 2);
  deepEqual(Object.entries(env).filter(([name]) => !runtimeVariable.test(name)), [["GRANTED", "g"]]);
  equal(env["HOME"], "/tmp");
  ok(!args.includes("g") && !args.includes("--setenv"));
  ok(args.includes("--allow-run=/usr/bin/env"));
});

Deno.test("cellCommand() allows code from strings only where it was granted", () => {
  const flagsOf = (isGranted: boolean) =>
    cellCommand(describeCell("process", { eval: isGranted }), files, host, environment).args.join(" ");
  ok(flagsOf(false).includes("--disallow-code-generation-from-strings"));
  ok(!flagsOf(true).includes("--disallow-code-generation-from-strings"));
});

Deno.test("cellCommand() throws for what the tier or the machine cannot give", () => {
  for (const more of [{ run: ["/usr/bin/env"] }, { ffi: ["/usr/lib/libm.so.6"] }]) {
    throws(() => cellCommand(describeCell("process", more), files, host, environment), /sealed tier only/);
  }
  const bare = { ...host, sealed: undefined };
  throws(
    () => cellCommand(describeCell("sealed"), files, bare, environment),
    /bubblewrap does not work here/,
  );
  const listed = { read: ["/srv/a,/etc"] };
  throws(() => cellCommand(describeCell("process", listed), files, host, environment), /comma/);
});

Deno.test("cellCommand() does without the programs that bound it where they are missing", () => {
  const bare = { ...host, sh: undefined, setpriv: undefined, setsid: undefined };
  const { program, ownSession } = cellCommand(describeCell("process"), files, bare, environment);
  deepEqual([program, ownSession], [host.deno, false]);
});

Deno.test("cellCommand() starts a compiled binary with its hidden word, and no flags", () => {
  const compiled = { ...host, deno: "/opt/airlock-binary", standalone: true, setpriv: undefined };
  const { args } = cellCommand(describeCell("process"), files, compiled, environment);
  deepEqual(args.slice(args.indexOf("/opt/airlock-binary")), ["/opt/airlock-binary", "cell"]);
});

Deno.test("kernelCommand() grants its folders, its socket and its own address, and no program", () => {
  const folders = {
    ...{ main: "/app/main.ts", config: "/app/deno.json", dataDir: "/data", readable: ["/app/plugins"] },
    ...{ runFolder: "/tmp/airlock-1", socket: "/tmp/airlock-1/s", host: "::1", port: 8787 },
  };
  const { args } = kernelCommand(folders, host);
  deepEqual(args.filter((arg) => arg.startsWith("--allow") || arg === "-A"), [
    "--allow-net=[::1]:8787,unix:/tmp/airlock-1/s",
    "--allow-read=/data,/tmp/airlock-1,/app/plugins",
    "--allow-write=/data,/tmp/airlock-1",
  ]);
});

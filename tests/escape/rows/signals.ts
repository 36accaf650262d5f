/**
 * Signals and self-kill: a plugin ends its own cell at most.
 *
 * @module
 */
import { leftovers, until } from "../../support/airlock.ts";
import { type AttackRow, type Row, rowsOf } from "../row.ts";

const crashed = "fails PLUGIN_CRASHED";
const overdue = "fails LIMIT_WALL";

const attacks: AttackRow[] = [
  {
    name: "signal the kernel, the warden, the neighbour, and the groups that they lead",
    by: "bare",
    attack: ({ kernelPid, wardenPid, neighbourPid }, t) =>
      t.each(
        [kernelPid, wardenPid, neighbourPid, -kernelPid, -wardenPid, -neighbourPid].flatMap((pid) =>
          (["SIGKILL", "SIGSTOP", "SIGTERM", "SIGCONT"] as const).map((name) => () => Deno.kill(pid, name))
        ),
      ),
    expected: "throws NotCapable",
  },
  {
    name: "signal the group of its own process, which holds nothing but its cell",
    by: "bare",
    attack: (_aim, t) => t.each([0, -Deno.pid].map((pid) => () => Deno.kill(pid, "SIGKILL"))),
    expected: "throws NotCapable",
  },
  {
    name: "kill its own process",
    by: "bare",
    attack: (_aim, t) => {
      Deno.kill(Deno.pid, "SIGKILL");
      return t.forEver();
    },
    expected: crashed,
  },
  {
    name: "kill its own process with a signal that dumps core",
    by: "bare",
    attack: (_aim, t) => {
      for (const name of ["SIGABRT", "SIGSEGV", "SIGQUIT", "SIGSYS"] as const) Deno.kill(Deno.pid, name);
      return t.forEver();
    },
    expected: [crashed, overdue],
  },
  {
    name: "stop its own process",
    by: "bare",
    endless: true,
    attack: (_aim, t) => {
      Deno.kill(Deno.pid, "SIGSTOP");
      return t.forEver();
    },
    expected: overdue,
  },
  {
    name: "exit: Deno.exit",
    by: "bare",
    endless: true,
    attack: () => Deno.exit(0),
    expected: [overdue, crashed],
  },
  {
    name: "exit: process.exit, process.reallyExit, process.abort",
    by: "bare",
    endless: true,
    attack: async (_aim, t) => {
      const { default: process } = await import("node:process");
      for (const name of ["abort", "reallyExit", "exit"]) {
        try {
          Reflect.apply(Reflect.get(process, name), process, [0]);
        } catch {
          // There is no such function here: the next one.
        }
      }
      return t.forEver();
    },
    expected: [overdue, crashed],
  },
  {
    name: "close its own Worker",
    by: "bare",
    endless: true,
    attack: (_aim, t) => {
      self.close();
      return t.forEver();
    },
    expected: [overdue, crashed],
  },
  {
    name: "be deaf to every signal that can be caught",
    by: "bare",
    spoils: true,
    attack: () => {
      const names = [
        "SIGTERM",
        "SIGINT",
        "SIGHUP",
        "SIGUSR1",
        "SIGUSR2",
        "SIGCONT",
        "SIGALRM",
        "SIGCHLD",
      ] as const;
      for (const name of names) Deno.addSignalListener(name, () => {});
      return "deaf";
    },
    expected: 'gives "deaf"',
  },
  {
    name: "an unhandled rejection, and an error in a timer",
    by: "bare",
    attack: (_aim, t) => {
      setTimeout(() => {
        throw new Error("too late");
      });
      void Promise.reject(new Error("nobody handles it"));
      return t.forEver();
    },
    expected: crashed,
  },
  {
    name: "a granted program kills every process that it can",
    by: "runner",
    // Nothing is signalled where the namespace is that of the host.
    attack: (_aim, t) =>
      t.perl(
        'die if readlink("/proc/1/exe") !~ /bwrap/; kill "KILL", -1; kill "KILL", 1; print "killed"',
      ),
    expected: { sealed: [crashed, 'gives "killed"'] },
  },
  {
    name: "a granted program kills the kernel, the warden and the neighbour by their numbers",
    by: "runner",
    attack: ({ kernelPid, wardenPid, neighbourPid }, t) =>
      t.perl(`print kill("KILL", ${kernelPid}, ${wardenPid}, ${neighbourPid})`),
    expected: { sealed: 'gives "0"' },
  },
  {
    name: "a granted program outlives its cell, in a session of its own",
    by: "runner",
    attack: async ({ mark }, t) => {
      const script = `use POSIX; exit if fork; POSIX::setsid(); exit if fork; sleep 60; "${mark}"`;
      const [stdin, stdout, stderr] = ["null", "null", "null"] as const;
      await new Deno.Command("/usr/bin/perl", { args: ["-e", script], stdin, stdout, stderr }).spawn().status;
      Deno.kill(Deno.pid, "SIGKILL");
      return t.forEver();
    },
    expected: { sealed: crashed },
    verify: async ({ aim }) => {
      await until(
        "the program is gone",
        () => !leftovers("sleep 60").some((line) => line.includes(aim.mark)),
      );
      return undefined;
    },
  },
];

export const signalRows: Row[] = rowsOf("signals and self-kill", attacks);

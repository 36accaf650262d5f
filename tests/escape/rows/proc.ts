/**
 * `/proc` and `/dev`: what the system's kernel tells and takes, from Deno, and from a granted program or
 * native code, which ask Deno for nothing.
 *
 * @module
 */
import { type AttackRow, type Row, rowsOf } from "../row.ts";

const byDeno: AttackRow[] = [
  {
    name: "read the environments, command lines and memory of processes in /proc",
    advisories: ["CVE-2024-34346"],
    by: "bare",
    attack: ({ kernelPid, wardenPid, neighbourPid }, t) =>
      t.each(
        ["self", "1", kernelPid, wardenPid, neighbourPid].flatMap((pid) =>
          ["environ", "cmdline", "mem", "maps", "status", "task"].map((name) => () =>
            Deno.readTextFileSync(`/proc/${pid}/${name}`)
          )
        ),
      ),
    expected: "throws NotCapable",
  },
  {
    name: "reach a file outside by way of /proc: root, cwd, fd",
    by: "bare",
    attack: ({ canary, kernelPid, wardenPid }, t) =>
      t.each([
        ...["self", "thread-self", "1", wardenPid, kernelPid].map((pid) => () =>
          Deno.readTextFileSync(`/proc/${pid}/${"root"}${canary}`)
        ),
        () => Deno.readTextFileSync(`/proc/self/cwd${canary}`),
        ...[0, 3, 5, 8].map((fd) => () => Deno.readTextFileSync(`/proc/self/fd/${fd}`)),
        () => Deno.readLinkSync("/proc/self/exe"),
        () => [...Deno.readDirSync("/proc/self/fd")].length,
      ]),
    expected: "throws NotCapable",
  },
  {
    name: "reach /proc with a grant beside it",
    by: "granted",
    attack: ({ canary, shared }, t) =>
      t.each([
        () => Deno.readTextFileSync("/proc/self/environ"),
        () => Deno.readTextFileSync(`/proc/self/${"root"}${canary}`),
        () => Deno.readTextFileSync(`/proc/self/${"root"}${shared}/note`),
        () => Deno.readTextFileSync(`${shared}/../../../proc/self/environ`),
      ]),
    expected: "throws NotCapable",
  },
  {
    name: "open kernel parameters and its own scores for writing",
    advisories: ["CVE-2024-34346"],
    by: "bare",
    attack: (_aim, t) =>
      t.each(
        ["sys/kernel/core_pattern", "sys/kernel/modprobe", "sysrq-trigger", "self/oom_score_adj", "self/mem"]
          .map((name) => () => Deno.openSync(`/proc/${name}`, { write: true }).close()),
      ),
    expected: "throws NotCapable",
  },
  {
    name: "open devices, and make files among them",
    advisories: ["CVE-2024-34346"],
    by: "bare",
    attack: (_aim, t) =>
      t.each(
        [
          "/dev/mem",
          "/dev/kmsg",
          "/dev/tty",
          "/dev/ptmx",
          "/dev/fd/3",
          "/dev/stdin",
          "/dev/shm/made",
          "/dev/sda",
        ]
          .flatMap((path) => [
            () => Deno.openSync(path).close(),
            () => Deno.openSync(path, { write: true, create: true }).close(),
          ]),
      ),
    expected: "throws NotCapable",
  },
];

/** By programs that were granted; as root, where Airlock runs as root. */
const byPrograms: AttackRow[] = [
  {
    name: "remount a read-only bind writable",
    by: "runner",
    attack: async ({ shared, canary, shell }, t) => {
      const tries = ["/", "/usr", "/dev", "/proc", shared, t.ctx.packageDir, canary].flatMap((path) =>
        ["remount,rw,bind", "remount,rw"].map((options) => () =>
          t.run("/usr/bin/mount", "-o", options, path).then(({ code }) => code !== 0)
        )
      );
      const refused = await t.each(tries);
      const { stdout } = await t.run(
        shell,
        "-c",
        `for f in ${shared}/made ${t.ctx.packageDir}/made /usr/bin/made; do : > $f && echo made $f; done`,
      );
      return { refused, stdout };
    },
    expected: { sealed: 'gives {"refused":true,"stdout":""}' },
  },
  {
    name: "mount anything over the granted folders, or a new /proc",
    by: "runner",
    attack: ({ shared }, t) =>
      t.each(
        [["-t", "tmpfs", "none", shared], ["-t", "proc", "none", "/tmp"], ["--bind", "/tmp", shared], [
          "--move",
          "/proc",
          "/tmp",
        ]]
          .map((args) => async () => (await t.run("/usr/bin/mount", ...args)).code !== 0),
      ),
    expected: { sealed: "gives true" },
  },
  {
    name: "make namespaces",
    by: "runner",
    attack: (_aim, t) =>
      t.each(
        ["--user", "--map-root-user", "--mount", "--pid", "--net", "--ipc", "--uts", "--cgroup"].map(
          (kind) => async () => (await t.run("/usr/bin/unshare", kind, "/usr/bin/env")).code !== 0,
        ),
      ),
    expected: { sealed: "gives true" },
  },
  {
    name: "hold a capability, or gain one",
    by: "runner",
    attack: async (_aim, t) => {
      const { stdout } = await t.run("/usr/bin/cat", "/proc/self/status");
      return stdout.match(/^(?:Cap\w+:\t0{16}|NoNewPrivs:\t1)$/gm)?.length;
    },
    expected: { sealed: "gives 6" },
  },
  {
    name: "find a file outside by way of /proc: root, cwd, fd of every process there is",
    by: "runner",
    attack: async ({ canary, wardenPid, kernelPid }, t) => {
      const paths =
        `glob("/proc/[0-9]*/root${canary} /proc/[0-9]*/cwd${canary} /proc/self/root${canary}"), "${canary}"`;
      const pids = `"/proc/${wardenPid}/cmdline", "/proc/${kernelPid}/cmdline"`;
      return await t.perl(`for (${paths}, ${pids}) { open F, "<", $_ and print <F> } print "end"`);
    },
    expected: { sealed: 'gives "end"' },
  },
  {
    name: "read the environment of every process there is",
    by: "runner",
    attack: async (_aim, t) => {
      const text = await t.perl('for (glob "/proc/[0-9]*/environ") { open F, $_; print <F> }');
      return { own: text.includes("DENO_DIR="), host: text.includes("ESCAPE_") };
    },
    expected: { sealed: 'gives {"own":true,"host":false}' },
  },
  {
    name: "see a process of the host",
    by: "runner",
    attack: (_aim, t) =>
      t.perl(
        'for (glob "/proc/[0-9]*/exe") { $_ = readlink; s{.*/}{}; $seen{$_}++ } print join ",", sort keys %seen',
      ),
    expected: { sealed: ['gives "bwrap,deno,perl"', 'gives "bwrap,deno.bin,perl"'] },
  },
  {
    name: "write kernel parameters, and the scores and maps of its own processes",
    by: "runner",
    attack: async (_aim, t) => {
      const names = [
        ...["sys/kernel/core_pattern", "sys/kernel/modprobe", "sys/kernel/hostname", "sys/vm/drop_caches"],
        ...["sys/fs/suid_dumpable", "sysrq-trigger", "1/oom_score_adj", "self/uid_map", "self/attr/current"],
      ];
      const list = names.map((name) => `"/proc/${name}"`).join(",");
      return await t.perl(`for (${list}) { open F, ">", $_ and print "opened $_\\n" } print "end"`);
    },
    expected: { sealed: 'gives "end"' },
  },
  {
    name: "make device files",
    by: "runner",
    attack: (_aim, t) =>
      t.each(
        [["b", "8", "0"], ["c", "1", "1"]].flatMap((kind) =>
          [`${t.data}/device`, "/tmp/device", "/dev/device"].map((path) => async () =>
            (await t.run("/usr/bin/mknod", path, ...kind)).code !== 0
          )
        ),
      ),
    expected: { sealed: "gives true" },
  },
  {
    name: "find any device but the harmless ones",
    by: "runner",
    attack: (_aim, t) =>
      t.perl('for (glob "/dev/*") { s{/dev/}{}; push @d, $_ unless -l "/dev/$_" } print join ",", sort @d'),
    expected: { sealed: 'gives "full,null,pts,random,shm,tty,urandom,zero"' },
  },
  {
    name: "plant files on the host: in /usr, /etc, /run, /dev, and the folders on the way to granted ones",
    by: "runner",
    attack: async ({ plants, dataDir, neighbourData, outside }, t) => {
      const paths = [...plants, `${dataDir}/made`, `${neighbourData}/made`, `${outside}/made`]
        .map((path) => JSON.stringify(path)).join(",");
      await t.perl(`for (${paths}) { open F, ">", $_ and print F "planted" }`);
      return "tried";
    },
    // Some of the folders are memory of the cell: what matters is that the host has none of the files.
    expected: { sealed: 'gives "tried"' },
  },
  {
    name: "change the mode and owner of what it was granted to read, and of its socket",
    by: "runner",
    attack: ({ shared, socket, deno }, t) =>
      t.each(
        [`${shared}/note`, socket, t.ctx.packageDir, deno, "/usr/bin/env", "/proc", "/dev"].map(
          (path) => async () => (await t.run("/usr/bin/chmod", "777", path)).code !== 0,
        ),
      ),
    expected: { sealed: "gives true" },
  },
  {
    name: "keep a key in the session's keyring, which every cell of this session shares",
    by: "runner",
    attack: (_aim, t) =>
      // add_key("user", …, @s), and KEYCTL_REVOKE; numbers of x86-64 and arm64.
      t.perl(
        `my ($add, $ctl) = \`/usr/bin/env uname -m\` =~ /aarch64/ ? (217, 219) : (248, 250);
        my ($k, $d, $p) = ("user", "escape", "x"); my $id = syscall($add, $k, $d, $p, 1, -3);
        syscall($ctl, 3, $id) if $id >= 0; print $id < 0 ? "refused" : "kept"`,
      ),
    expected: { sealed: 'gives "refused"' },
  },
  {
    name: "trace the process of its own cell",
    by: "runner",
    attack: (_aim, t) =>
      // PTRACE_SEIZE; the number on x86-64 and arm64.
      t.perl(
        'my $n = `/usr/bin/env uname -m` =~ /aarch64/ ? 117 : 101; print syscall($n, 0x4206, getppid(), 0, 0) < 0 ? "refused" : "traced"',
      ),
    expected: { sealed: 'gives "refused"' },
  },
];

const native: AttackRow[] = [
  {
    name: "native code opens a file outside, connects nowhere and kills nobody",
    by: "native",
    attack: ({ canary, token, libc, kernelPid, neighbourPid, wardenPid, plants }) => {
      const { symbols } = Deno.dlopen(libc, {
        open: { parameters: ["buffer", "i32", "i32"], result: "i32" },
        kill: { parameters: ["i32", "i32"], result: "i32" },
        unshare: { parameters: ["i32"], result: "i32" },
        chroot: { parameters: ["buffer"], result: "i32" },
        mount: { parameters: ["buffer", "buffer", "buffer", "u64", "pointer"], result: "i32" },
      });
      const text = (value: string) => new TextEncoder().encode(`${value}\0`);
      const readOnly = 0;
      const create = 0o101;
      return {
        read: [canary, token, "/etc/shadow"].map((path) => symbols.open(text(path), readOnly, 0)),
        write: [plants[4] ?? "", plants[5] ?? ""].map((path) => symbols.open(text(path), create, 0o644)),
        kill: [kernelPid, neighbourPid, wardenPid].map((pid) => symbols.kill(pid, 9)),
        unshare: symbols.unshare(0x1000_0000),
        chroot: symbols.chroot(text("/tmp")),
        remount: symbols.mount(text("none"), text("/usr"), text("none"), 0x1020n, null),
      };
    },
    expected: {
      sealed:
        'gives {"read":[-1,-1,-1],"write":[-1,-1],"kill":[-1,-1,-1],"unshare":-1,"chroot":-1,"remount":-1}',
    },
  },
];

export const procRows: Row[] = rowsOf("/proc and /dev", [...byDeno, ...byPrograms, ...native]);

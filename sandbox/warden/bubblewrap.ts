/**
 * The sealed tier: a root of its own, made by bubblewrap, in which only what the plugin was granted exists.
 *
 * User, mount, pid, ipc, uts and cgroup namespaces always; the network namespace is the host's only for a
 * plugin with a net grant. No capabilities, no further user namespaces, and a root that is read-only once
 * it is built. Paths are the same inside and outside, so that grants mean the same in both tiers. The
 * environment is that of `bwrap` itself, because arguments can be read by every user of the machine. Pure.
 *
 * Where Airlock runs as root, so does a program in here to the machine's kernel, if without capabilities. The
 * kernel parameters in `/proc/sys` ask for no more than that, and the handler of the next core dump is one of
 * them: so `/proc` is read-only, and nothing of the host's is bound in writable but what was granted.
 *
 * @module
 */
import type { CellDescription } from "../../schemas/warden_protocol.ts";
import { temporaryBytesMax } from "./cell_watch.ts";

/** What of the host the runtime itself needs; found once, when the warden starts. */
export interface HostRuntime {
  readonly bwrap: string;
  readonly deno: string;
  readonly libraries: readonly string[];
  /** Top-level links such as `/lib64` → `usr/lib64`, by path. */
  readonly rootLinks: Readonly<Record<string, string>>;
  /** Of the paths below, those that exist on the host. */
  readonly nameService: readonly string[];
  readonly programRoots: readonly string[];
  readonly hidden: readonly string[];
}

/** Read by the resolver of a plugin with a net grant. */
export const nameServicePaths = ["/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf"];

/** The program loader by the names that executables give it; the mapped file has another path. */
export const loaderPaths = [
  "/lib64/ld-linux-x86-64.so.2",
  "/lib/ld-linux-aarch64.so.1",
  "/lib/ld-musl-x86_64.so.1",
  "/lib/ld-musl-aarch64.so.1",
];

/** Seen by a plugin with a run or ffi grant: programs need their libraries and data. */
export const programPaths = ["/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache", "/etc/alternatives"];

/** What the machine's kernel tells root of itself, and of others' keys: hidden from granted programs. */
export const hiddenPaths = [
  ...["kcore", "keys", "key-users", "kallsyms", "kpageflags", "kpagecount", "kpagecgroup", "slabinfo"],
  ...["vmallocinfo", "timer_list", "sched_debug", "latency_stats", "sysrq-trigger"],
].map((name) => `/proc/${name}`);

/** A cell's temporary folders, Deno's own cache among them. */
export const sealedTemporaryDir = "/tmp";

/** On which bubblewrap finds the filter of system calls. One digit: a shell takes no more. */
export const seccompDescriptor = 9;

/** The audit's pipe, which bubblewrap keeps open and does not hand on. */
export const auditDescriptor = 8;

/** Arguments of `bwrap`, up to the program. `bindings` are the cell's own files and its socket. */
export function bubblewrapArguments(
  cell: CellDescription,
  host: HostRuntime,
  bindings: {
    readable: readonly string[];
    socket: string;
    auditPipe: string | undefined;
    hasFilter: boolean;
  },
): string[] {
  const { grants, limits } = cell;
  const hasNet = grants.net.length > 0;
  const runsPrograms = grants.run.length > 0 || grants.ffi.length > 0;
  const links = Object.entries(host.rootLinks).flatMap(([path, to]) => [
    ...["--dir", to.startsWith("/") ? to : `/${to}`],
    ...["--symlink", to, path],
  ]);
  const readOnly = [
    host.deno,
    ...(runsPrograms ? host.programRoots : host.libraries),
    ...(hasNet ? host.nameService : []),
    ...bindings.readable,
    ...grants.read.filter((path) => !grants.write.includes(path)),
    ...grants.run,
    ...grants.ffi,
  ];
  const roots = runsPrograms ? host.programRoots : [];
  const bound = [...new Set(readOnly)].filter((path) =>
    !roots.some((root) => path !== root && path.startsWith(`${root}/`))
  );
  return [
    ...["--unshare-all", "--unshare-user", "--disable-userns", "--cap-drop", "ALL"],
    ...(hasNet ? ["--share-net"] : []),
    ...["--die-with-parent", "--new-session", "--hostname", "cell"],
    ...["--dev", "/dev", "--remount-ro", "/dev", "--proc", "/proc"],
    ...(runsPrograms ? host.hidden.flatMap((path) => ["--ro-bind", "/dev/null", path]) : []),
    ...["--remount-ro", "/proc"],
    ...["--size", String(temporaryBytesMax(limits)), "--tmpfs", sealedTemporaryDir],
    ...links,
    ...bound.flatMap((path) => ["--ro-bind", path, path]),
    ...grants.write.flatMap((path) => ["--bind", path, path]),
    // Connecting, and writing to a pipe, need no writable mount; changing their modes would.
    ...[bindings.socket, ...(bindings.auditPipe === undefined ? [] : [bindings.auditPipe])]
      .flatMap((path) => ["--ro-bind", path, path]),
    ...["--remount-ro", "/", "--chdir", "/"],
    ...(bindings.hasFilter ? ["--seccomp", String(seccompDescriptor)] : []),
    ...(bindings.auditPipe === undefined ? [] : ["--sync-fd", String(auditDescriptor)]),
  ];
}

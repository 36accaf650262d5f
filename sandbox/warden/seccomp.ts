/**
 * The system calls that a sealed cell may not make, as a filter that bubblewrap loads into it.
 *
 * Namespaces hide what is there; the filter takes away what a plugin has no use for and an attacker has: the
 * keyrings (a session's keys are shared by all that it started), mounts and namespaces, other processes' memory,
 * modules, BPF, io_uring. Memory that belongs to no process (`memfd`, System V) is refused too, because the
 * warden counts processes. It binds a granted program, and a Worker that broke out of V8, alike.
 *
 * A classic BPF program as of seccomp(2): little-endian `struct sock_filter { u16 code; u8 jt, jf; u32 k }`.
 * The numbers are those of the kernel's `asm/unistd.h`. Pure.
 *
 * @module
 */

export const seccompArchitectures = ["x86_64", "aarch64"] as const;
export type SeccompArchitecture = (typeof seccompArchitectures)[number];

/** The filter's file in the folder of bundles, by `Deno.build.arch`. */
export function seccompFile(arch: string): string {
  return `seccomp_${arch}.bpf`;
}

/** Name → number on x86_64 and on aarch64; `undefined` where it does not exist. */
const refused: Readonly<Record<string, readonly [number, number | undefined]>> = {
  // Keys of the session that started Airlock.
  add_key: [248, 217],
  request_key: [249, 218],
  keyctl: [250, 219],
  // Mounts, roots, namespaces.
  mount: [165, 40],
  umount2: [166, 39],
  pivot_root: [155, 41],
  chroot: [161, 51],
  unshare: [272, 97],
  setns: [308, 268],
  open_tree: [428, 428],
  move_mount: [429, 429],
  fsopen: [430, 430],
  fsconfig: [431, 431],
  fsmount: [432, 432],
  fspick: [433, 433],
  mount_setattr: [442, 442],
  open_tree_attr: [467, 467],
  name_to_handle_at: [303, 264],
  open_by_handle_at: [304, 265],
  // Other processes.
  ptrace: [101, 117],
  process_vm_readv: [310, 270],
  process_vm_writev: [311, 271],
  process_madvise: [440, 440],
  pidfd_getfd: [438, 438],
  kcmp: [312, 272],
  move_pages: [279, 239],
  migrate_pages: [256, 238],
  // Large and young parts of the system's kernel.
  bpf: [321, 280],
  perf_event_open: [298, 241],
  userfaultfd: [323, 282],
  io_uring_setup: [425, 425],
  io_uring_enter: [426, 426],
  io_uring_register: [427, 427],
  // The machine itself.
  syslog: [103, 116],
  acct: [163, 89],
  settimeofday: [164, 170],
  clock_settime: [227, 112],
  clock_adjtime: [305, 266],
  swapon: [167, 224],
  swapoff: [168, 225],
  reboot: [169, 142],
  sethostname: [170, 161],
  setdomainname: [171, 162],
  iopl: [172, undefined],
  ioperm: [173, undefined],
  modify_ldt: [154, undefined],
  uselib: [134, undefined],
  init_module: [175, 105],
  delete_module: [176, 106],
  finit_module: [313, 273],
  kexec_load: [246, 104],
  kexec_file_load: [320, 294],
  quotactl: [179, 60],
  quotactl_fd: [443, 443],
  lookup_dcookie: [212, 18],
  // Memory that no process has mapped.
  memfd_create: [319, 279],
  memfd_secret: [447, 447],
  shmget: [29, 194],
  semget: [64, 190],
  msgget: [68, 186],
  mq_open: [240, 180],
  vmsplice: [278, 75],
  // Shared by the whole machine, and few.
  io_setup: [206, 0],
  io_submit: [209, 2],
  // A timer may send SIGCONT, to a process that was stopped.
  timer_create: [222, 107],
  // Of no use here, and not harmless everywhere.
  personality: [135, 92],
  seccomp: [317, 277],
  landlock_create_ruleset: [444, 444],
  landlock_add_rule: [445, 445],
  landlock_restrict_self: [446, 446],
  pidfd_open: [434, 434],
  cachestat: [451, 451],
  statmount: [457, 457],
  listmount: [458, 458],
};

const numbers = {
  x86_64: { audit: 0xc000_003e, column: 0, clone: 56, clone3: 435, ioctl: 16 },
  aarch64: { audit: 0xc000_00b7, column: 1, clone: 220, clone3: 435, ioctl: 29 },
} as const;

/** Offsets in `struct seccomp_data`; arguments are 64 bits wide, and their low half comes first. */
const data = { number: 0, architecture: 4, firstArgument: 16, secondArgument: 24 } as const;
/** NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET. */
const namespaceFlags = 0x7e02_0000;
/** Puts a character into a terminal's input, and its kin of the console. */
const terminalRequests = [0x5412, 0x541c];
const x32Bit = 0x4000_0000;

const result = { allow: 0x7fff_0000, kill: 0x8000_0000, eperm: 0x0005_0001, enosys: 0x0005_0026 } as const;
type Result = keyof typeof result;

/** One instruction; a jump names the result that it leads to, if it is taken. */
type Step = { code: number; k: number; then?: Result; orElse?: Result };

const load = (offset: number): Step => ({ code: 0x20, k: offset });
const ifEqual = (k: number, then: Result): Step => ({ code: 0x15, k, then });
const unlessEqual = (k: number, orElse: Result): Step => ({ code: 0x15, k, orElse });
const ifAtLeast = (k: number, then: Result): Step => ({ code: 0x35, k, then });
const ifAny = (k: number, then: Result): Step => ({ code: 0x45, k, then });

/** The program's bytes. What no step refuses comes to the first result, which allows it. */
export function seccompFilter(architecture: SeccompArchitecture): Uint8Array<ArrayBuffer> {
  const { audit, column, clone, clone3, ioctl } = numbers[architecture];
  const listed = Object.values(refused).flatMap((row) => row[column] ?? []);
  const steps: (Step | { skipUnless: number; body: Step[] })[] = [
    load(data.architecture),
    unlessEqual(audit, "kill"),
    load(data.number),
    ...(architecture === "x86_64" ? [ifAtLeast(x32Bit, "kill")] : []),
    // Its flags lie in memory, where a filter cannot see them. Libraries fall back on clone().
    ifEqual(clone3, "enosys"),
    ...listed.map((number) => ifEqual(number, "eperm")),
    {
      skipUnless: clone,
      body: [load(data.firstArgument), ifAny(namespaceFlags, "eperm"), load(data.number)],
    },
    {
      skipUnless: ioctl,
      body: [load(data.secondArgument), ...terminalRequests.map((request) => ifEqual(request, "eperm"))],
    },
  ];
  return assemble(steps);
}

function assemble(parts: readonly (Step | { skipUnless: number; body: Step[] })[]): Uint8Array<ArrayBuffer> {
  const flat: (Step & { skips?: number })[] = parts.flatMap((part) =>
    "body" in part ? [{ code: 0x15, k: part.skipUnless, skips: part.body.length }, ...part.body] : [part]
  );
  const results = Object.keys(result) as Result[];
  const resultAt = (name: Result) => flat.length + results.indexOf(name);
  const bytes = new Uint8Array((flat.length + results.length) * 8);
  const view = new DataView(bytes.buffer);
  const write = (index: number, code: number, taken: number, otherwise: number, k: number) => {
    view.setUint16(index * 8, code, true);
    view.setUint8(index * 8 + 2, taken);
    view.setUint8(index * 8 + 3, otherwise);
    view.setUint32(index * 8 + 4, k, true);
  };
  flat.forEach(({ code, k, then, orElse, skips = 0 }, index) => {
    const jump = (name: Result | undefined, other: number) =>
      name === undefined ? other : resultAt(name) - index - 1;
    write(index, code, jump(then, 0), jump(orElse, skips), k);
  });
  results.forEach((name, index) => write(flat.length + index, 0x06, 0, 0, result[name]));
  return bytes;
}

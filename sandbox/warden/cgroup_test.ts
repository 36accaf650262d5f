import { deepEqual, equal, rejects, throws } from "node:assert/strict";
import { CellGroups, findOwnGroup, type GroupFiles } from "./cgroup.ts";

const root = "/sys/fs/cgroup";
const mount = (line: string) => `30 23 0:26 / /proc rw - proc proc rw\n${line}\n`;

Deno.test("findOwnGroup() finds its place in the tree of version 2", () => {
  const whole = mount(`31 23 0:27 / ${root} rw,nosuid - cgroup2 cgroup2 rw`);
  equal(findOwnGroup("0::/system.slice/airlock.service\n", whole), `${root}/system.slice/airlock.service`);
  equal(findOwnGroup("0::/\n", whole), root);
  const hybrid = "4:memory:/x\n1:cpu:/\n0::/user.slice\n";
  equal(
    findOwnGroup(hybrid, mount("41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw")),
    `${root}/unified/user.slice`,
  );
  const part = mount(`31 23 0:27 /docker/1 ${root} rw - cgroup2 cgroup2 rw`);
  equal(findOwnGroup("0::/docker/1/app\n", part), `${root}/app`);
  equal(findOwnGroup("0::/docker/1\n", part), root);
});

Deno.test("findOwnGroup() gives nothing where there is none", () => {
  equal(findOwnGroup("4:memory:/x\n", mount(`31 23 0:27 / ${root} rw - cgroup2 cgroup2 rw`)), undefined);
  equal(
    findOwnGroup("0::/x\n", mount("31 23 0:27 / /sys/fs/cgroup rw - cgroup cgroup rw,memory")),
    undefined,
  );
  equal(findOwnGroup("0::/x\n", mount(`31 23 0:27 /docker/1 ${root} rw - cgroup2 cgroup2 rw`)), undefined);
  equal(findOwnGroup("", ""), undefined);
});

/** A tree that behaves as the system's does, as far as it is used. */
class FakeTree implements GroupFiles {
  readonly files = new Map<string, string>();
  readonly folders: string[] = [root];
  fails: (path: string) => boolean = () => false;
  failedRemoves = 0;

  constructor(controllers = "cpuset cpu io memory pids") {
    this.files.set(`${root}/cgroup.controllers`, `${controllers}\n`);
  }
  names = (path: string) =>
    this.folders.filter((folder) => folder.startsWith(`${path}/`)).map((folder) =>
      folder.slice(path.length + 1)
    );
  read = (path: string) => this.files.get(path);
  write(path: string, text: string) {
    if (this.fails(path)) throw new Error("Device or resource busy");
    this.files.set(path, text);
  }
  make(path: string) {
    if (this.folders.includes(path)) throw new Deno.errors.AlreadyExists(path);
    this.folders.push(path);
    this.files.set(`${path}/memory.swap.max`, "max");
  }
  remove(path: string) {
    if (this.failedRemoves-- > 0) throw new Error("Device or resource busy");
    if (!this.folders.includes(path)) throw new Deno.errors.NotFound(path);
    this.folders.splice(this.folders.indexOf(path), 1);
  }
}

const limits = { memoryBytesMax: 1_000, threadsMax: 72, nice: 5 };

Deno.test("CellGroups moves itself one down, then hands the controllers to the groups below", () => {
  const tree = new FakeTree();
  CellGroups.create(root, 42, tree);
  equal(tree.files.get(`${root}/airlock-42/cgroup.procs`), "42");
  equal(tree.files.get(`${root}/cgroup.subtree_control`), "+memory +pids +cpu");
  equal(
    [...tree.files.keys()].indexOf(`${root}/airlock-42/cgroup.procs`) <
      [...tree.files.keys()].indexOf(`${root}/cgroup.subtree_control`),
    true,
  );
});

Deno.test("CellGroups leaves everything as it was where the group cannot be divided", () => {
  const tree = new FakeTree();
  tree.fails = (path) => path.endsWith("subtree_control");
  throws(() => CellGroups.create(root, 42, tree), /its group cannot be divided: Device or resource busy/);
  equal(tree.files.get(`${root}/cgroup.procs`), "42");
  deepEqual(tree.folders, [root]);
  throws(() => CellGroups.create(root, 42, new FakeTree("cpu pids")), /has no controller memory$/);
});

Deno.test("CellGroups removes what a killed predecessor left, and nothing else", () => {
  const tree = new FakeTree();
  for (const name of ["airlock-7", "airlock-7.1a", "airlock-data", "other"]) tree.make(`${root}/${name}`);
  CellGroups.create(root, 42, tree);
  deepEqual(tree.folders.slice(1), [`${root}/airlock-data`, `${root}/other`, `${root}/airlock-42`]);
});

Deno.test("CellGroup bounds memory, swap, threads and the share of CPU", () => {
  const tree = new FakeTree();
  const group = CellGroups.create(root, 42, tree).make("1a", limits);
  const path = `${root}/airlock-42.1a`;
  equal(group.path, path);
  const written = ["memory.max", "memory.swap.max", "memory.oom.group", "pids.max", "cpu.weight.nice"];
  deepEqual(written.map((name) => tree.files.get(`${path}/${name}`)), ["1000", "0", "1", "72", "5"]);
  group.add(77);
  equal(group.holds(77), true);
  equal(group.holds(7), false);
});

Deno.test("CellGroup says what the system refused", () => {
  const tree = new FakeTree();
  const group = CellGroups.create(root, 42, tree).make("1a", limits);
  equal(group.crossed, undefined);
  tree.files.set(
    `${group.path}/memory.events`,
    "low 0\nhigh 0\nmax 31\noom 0\noom_kill 0\noom_group_kill 0\n",
  );
  tree.files.set(`${group.path}/pids.events`, "max 0\n");
  equal(group.crossed, undefined);
  tree.files.set(`${group.path}/pids.events`, "max 2\n");
  equal(group.crossed, "LIMIT_THREADS");
  tree.files.set(`${group.path}/memory.events`, "max 31\noom 1\noom_kill 1\n");
  equal(group.crossed, "LIMIT_MEMORY");
});

Deno.test("CellGroups leaves no group behind that it could not bound", () => {
  const tree = new FakeTree();
  const groups = CellGroups.create(root, 42, tree);
  tree.fails = (path) => path.endsWith("pids.max");
  throws(() => groups.make("1a", limits), /busy/);
  equal(tree.folders.includes(`${root}/airlock-42.1a`), false);
});

Deno.test("CellGroup is removed as soon as its last process is gone, or says that it is not", async () => {
  const tree = new FakeTree();
  const groups = CellGroups.create(root, 42, tree);
  const group = groups.make("1a", limits);
  tree.failedRemoves = 3;
  await group.remove();
  equal(tree.folders.includes(group.path), false);
  equal(tree.files.get(`${group.path}/cgroup.kill`), "1");
  await group.remove();
  const other = groups.make("2b", limits);
  tree.failedRemoves = 1_000;
  await rejects(() => other.remove(), /busy/);
});

/**
 * Exhaustion of memory, time, disk, descriptors and threads. The culprit fails with its limit's code.
 *
 * @module
 */
import { type AttackRow, type Row, rowsOf } from "../row.ts";
import type { World } from "../world.ts";

const memory = "fails LIMIT_MEMORY";
const overdue = "fails LIMIT_WALL";

const ofMemory: AttackRow[] = [
  {
    name: "the heap",
    by: "small",
    attack: () => {
      const held: unknown[] = [];
      for (;;) held.push(new Array(100_000).fill({}));
    },
    expected: memory,
  },
  {
    name: "buffers",
    by: "small",
    attack: () => {
      const held: unknown[] = [];
      for (;;) held.push(new Uint8Array(4_000_000).fill(1));
    },
    expected: memory,
  },
  {
    name: "memory that is shared, and WebAssembly's",
    by: "small",
    attack: () => {
      const held: unknown[] = [];
      for (;;) {
        const { buffer } = new WebAssembly.Memory({ initial: 64, maximum: 64, shared: true });
        new Uint8Array(buffer).fill(1);
        const shared = new SharedArrayBuffer(4_000_000);
        new Uint8Array(shared).fill(1);
        held.push(buffer, shared);
      }
    },
    expected: [memory, "throws RangeError"],
  },
  {
    name: "strings, blobs and a database in memory",
    by: "small",
    attack: async () => {
      const { DatabaseSync } = await import("node:sqlite");
      const database = new DatabaseSync(":memory:");
      database.exec("CREATE TABLE t (x)");
      const held: unknown[] = [];
      for (;;) {
        database.exec("INSERT INTO t VALUES (randomblob(4000000))");
        held.push(new Blob([crypto.randomUUID().repeat(100_000)]));
        await null;
      }
    },
    expected: memory,
  },
  {
    name: "timers and listeners without end",
    by: "small",
    attack: () => {
      for (;;) {
        const held = new Array(10_000).fill(0.5);
        setTimeout(() => held, 1e9);
        globalThis.addEventListener("escape", () => held);
      }
    },
    expected: memory,
  },
  {
    name: "promises without end",
    by: "small",
    attack: async () => {
      const held: Promise<unknown>[] = [];
      const { promise: never } = Promise.withResolvers<void>();
      for (;;) {
        for (let count = 0; count < 10_000; count++) held.push(never.then(() => held), new Promise(() => {}));
        await null;
      }
    },
    expected: memory,
  },
  {
    name: "streams without end, each of which feeds two others",
    by: "small",
    attack: async () => {
      const chunk = () => new Uint8Array(1_000_000).fill(1);
      const source = () => new ReadableStream({ pull: (controller) => controller.enqueue(chunk()) });
      const held: unknown[] = [];
      for (;;) {
        const [read, kept] = source().tee();
        held.push(kept);
        // What one half reads the other keeps.
        const reader = read.getReader();
        for (let count = 0; count < 10; count++) await reader.read();
      }
    },
    expected: memory,
  },
  {
    name: "compressed bytes that unpack to gigabytes",
    by: "small",
    attack: async () => {
      const zeros = new ReadableStream({
        pull: (controller) => controller.enqueue(new Uint8Array(1_000_000)),
      });
      const unpacked = zeros.pipeThrough(new CompressionStream("gzip"))
        .pipeThrough(new DecompressionStream("gzip"));
      return (await new Response(unpacked).arrayBuffer()).byteLength;
    },
    expected: memory,
  },
  {
    name: "recursion without end",
    by: "small",
    attack: () => {
      const deeper = (): unknown => [deeper()];
      return deeper();
    },
    expected: "throws RangeError",
  },
];

const ofTime: AttackRow[] = [
  {
    name: "the CPU time of one call, in the Worker and in nested ones",
    by: "thrifty",
    attack: (_aim, t) => {
      for (let count = 0; count < 3; count++) void t.nested("for (;;);");
      for (;;);
    },
    expected: "fails LIMIT_CPU",
  },
  {
    name: "a loop without end",
    by: "small",
    endless: true,
    attack: () => {
      for (;;);
    },
    expected: overdue,
  },
  {
    name: "microtasks without end",
    by: "small",
    endless: true,
    attack: async () => {
      for (;;) await null;
    },
    expected: overdue,
  },
  {
    name: "a thread that waits for ever",
    by: "small",
    endless: true,
    attack: () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0),
    expected: overdue,
  },
  {
    name: "a pattern that backtracks exponentially",
    by: "small",
    attack: () => /^(a+)+$/.test(`${"a".repeat(40)}!`),
    expected: "gives false",
  },
  {
    name: "a pattern that backtracks exponentially, with what the linear engine cannot do",
    by: "small",
    endless: true,
    attack: () => /^(?=(a+))(a+)+\1$/.test(`${"a".repeat(40)}!`),
    expected: overdue,
  },
  {
    name: "one operation that takes long inside the runtime",
    by: "small",
    endless: true,
    attack: () => {
      for (let n = 3n;; n = n ** 3n) n.toString();
    },
    expected: [overdue, "throws RangeError", memory],
  },
];

/** Room for what was under way when the warden looked. */
const diskBytesMax = 24_000_000;

/** The private folder of `small`, in bytes on the disk; emptied. */
function emptyFolder({ aim }: World): string | undefined {
  const folder = `${aim.dataDir}/plugins/small`;
  let bytes = 0;
  for (const { name } of Deno.readDirSync(folder)) {
    bytes += (Deno.lstatSync(`${folder}/${name}`).blocks ?? 0) * 512;
    Deno.removeSync(`${folder}/${name}`, { recursive: true });
  }
  return bytes > diskBytesMax ? `${bytes} bytes are on the disk` : undefined;
}

const ofDisk: AttackRow[] = [
  {
    name: "a sparse file of a terabyte",
    by: "small",
    attack: (_aim, t) => {
      using file = Deno.openSync(`${t.data}/sparse`, { create: true, write: true });
      file.truncateSync(1e12);
      return "made";
    },
    expected: "fails LIMIT_DISK",
    verify: emptyFolder,
  },
  {
    name: "one file above its limit",
    by: "small",
    attack: (_aim, t) => {
      using file = Deno.openSync(`${t.data}/large`, { create: true, write: true });
      const chunk = new Uint8Array(1_000_000).fill(1);
      for (let count = 0; count < 100; count++) file.writeSync(chunk);
      return "made";
    },
    expected: "fails LIMIT_DISK",
    verify: emptyFolder,
  },
  {
    name: "many files that are together above the limit of the disk",
    by: "small",
    attack: async (_aim, t) => {
      const chunk = new Uint8Array(1_000_000).fill(1);
      for (let count = 0; count < 20; count++) Deno.writeFileSync(`${t.data}/file${count}`, chunk);
      return await t.forEver();
    },
    expected: "fails LIMIT_DISK",
    verify: emptyFolder,
  },
  {
    name: "more files than the limit",
    by: "small",
    attack: async (_aim, t) => {
      for (let count = 0; count < 1_000; count++) Deno.writeTextFileSync(`${t.data}/file${count}`, "");
      return await t.forEver();
    },
    expected: "fails LIMIT_FILES",
    verify: emptyFolder,
  },
  {
    name: "a file written for ever after its name is gone",
    by: "small",
    attack: async (_aim, t) => {
      const chunk = new Uint8Array(1_000_000).fill(1);
      const held = [];
      for (let count = 0; count < 20; count++) {
        const file = Deno.openSync(`${t.data}/gone`, { create: true, write: true });
        held.push(file);
        file.writeSync(chunk);
        Deno.removeSync(`${t.data}/gone`);
      }
      return await t.forEver();
    },
    expected: "fails LIMIT_DISK",
    verify: emptyFolder,
  },
  {
    name: "descriptors",
    by: "small",
    // It may be told EMFILE before the watch sees it, and be killed under the next row.
    spoils: true,
    attack: async (_aim, t) => {
      const held = [];
      Deno.writeTextFileSync(`${t.data}/file`, "");
      for (let count = 0; count < 1_000; count++) held.push(Deno.openSync(`${t.data}/file`));
      return await t.forEver();
    },
    expected: ["throws EMFILE", "throws Error", "fails LIMIT_DESCRIPTORS", "fails PLUGIN_CRASHED"],
    verify: emptyFolder,
  },
  {
    name: "what the runtime stores by itself: caches, storage, snapshots",
    by: "small",
    attack: async (_aim, t) => {
      const body = new Uint8Array(1_000_000);
      return await t.refused([
        async () => {
          const cache = await caches.open("escape");
          for (let count = 0; count < 50; count++) {
            await cache.put(`https://a.test/${count}`, new Response(body));
          }
        },
        () => localStorage.setItem("escape", "x".repeat(4_000_000)),
      ]);
    },
    expected: 'gives "refused"',
  },
];

const byPrograms: AttackRow[] = [
  {
    name: "a granted program takes memory",
    by: "runner",
    attack: (_aim, t) => t.perl('my @held; push @held, "x" x 4_000_000 for 1 .. 100; sleep 5; print "held"'),
    expected: { sealed: memory },
  },
  {
    name: "a granted program starts others without end",
    by: "runner",
    attack: (_aim, t) =>
      t.perl("for (1 .. 300) { my $pid = fork; defined $pid or last; if (!$pid) { sleep 5; exit } } sleep 5"),
    expected: { sealed: ["fails LIMIT_THREADS", memory] },
  },
  {
    name: "a granted program fills the cell's /tmp, /dev/shm and /, with 900 megabytes",
    by: "runner",
    attack: (_aim, t) =>
      t.perl(
        `my $bytes = 0; for my $folder ("/tmp", "/dev/shm", "/") { for my $n (1 .. 30) {
        open F, ">", "$folder/fill$n" or last; my $written = syswrite F, "x" x 10_000_000 or last; $bytes += $written } }
        print $bytes > 30e6 && $bytes < 100e6 ? "full" : $bytes`,
      ),
    spoils: true,
    expected: { sealed: 'gives "full"' },
  },
];

export const exhaustionRows: Row[] = rowsOf("exhaustion", [
  ...ofMemory,
  ...ofTime,
  ...ofDisk,
  ...byPrograms,
]);

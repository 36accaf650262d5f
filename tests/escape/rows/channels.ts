/**
 * Side channels: what one plugin leaves, its neighbour must not find. The neighbour looks at the same time.
 *
 * @module
 */
import { type AttackRow, type Row, rowsOf } from "../row.ts";

/** What the attacker managed to leave does not matter, only what the neighbour finds. */
const any = [
  'gives "left"',
  "throws NotCapable",
  "throws TypeError",
  "throws NotSupported",
  "throws NotSupportedError",
  "throws Error",
];

const attacks: AttackRow[] = [
  {
    name: "BroadcastChannel",
    by: "bare",
    attack: async ({ mark }) => {
      using channel = Object.assign(new BroadcastChannel("escape"), {
        [Symbol.dispose](this: BroadcastChannel) {
          this.close();
        },
      });
      for (let count = 0; count < 5; count++) {
        channel.postMessage(mark);
        // Again and again while the neighbour looks: an attacker does not know when that is.
        await new Promise((resolve) => setTimeout(resolve, 30));
      }
      return "left";
    },
    neighbour: async (_aim, t) => {
      const channel = new BroadcastChannel("escape");
      let heard: unknown = null;
      channel.onmessage = ({ data }) => heard = data;
      const result = await t.found(() => heard);
      channel.close();
      return result;
    },
    expected: 'gives "left"',
  },
  {
    name: "a SharedArrayBuffer and a port of messages, over a BroadcastChannel",
    by: "bare",
    attack: async ({ mark }) => {
      const channel = new BroadcastChannel("escape-memory");
      const shared = new Uint8Array(new SharedArrayBuffer(64));
      shared.set(new TextEncoder().encode(mark));
      const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
      for (let count = 0; count < 5; count++) {
        for (const message of [shared.buffer, memory, new MessageChannel().port1]) {
          try {
            channel.postMessage(message);
          } catch {
            // This kind cannot be sent so: the next one.
          }
        }
        // Again and again while the neighbour looks: an attacker does not know when that is.
        await new Promise((resolve) => setTimeout(resolve, 30));
      }
      channel.close();
      return "left";
    },
    neighbour: async (_aim, t) => {
      const channel = new BroadcastChannel("escape-memory");
      let heard: unknown = null;
      channel.onmessage = ({ data }) =>
        heard = data instanceof SharedArrayBuffer
          ? new TextDecoder().decode(new Uint8Array(data).slice())
          : "mark";
      const result = await t.found(() => heard);
      channel.close();
      return result;
    },
    expected: 'gives "left"',
  },
  {
    name: "environment data of node:worker_threads, its channels, and performance marks",
    by: "bare",
    attack: async ({ mark }, t) => {
      const threads = await import("node:worker_threads");
      await t.refused([
        () => threads.setEnvironmentData("escape", mark),
        () => new threads.BroadcastChannel("escape-threads").postMessage(mark),
        () => performance.mark(mark),
      ]);
      return "left";
    },
    neighbour: async (_aim, t) => {
      const threads = await import("node:worker_threads");
      const channel = new threads.BroadcastChannel("escape-threads");
      let heard: unknown = null;
      channel.onmessage = (event: unknown) => heard = Reflect.get(Object(event), "data");
      const result = await t.found(() =>
        heard ?? threads.getEnvironmentData("escape") ??
          performance.getEntries().find(({ name }) => name.startsWith("mark"))?.name
      );
      channel.close();
      return result;
    },
    expected: 'gives "left"',
  },
  {
    name: "navigator.locks",
    by: "bare",
    attack: ({ mark }) => {
      const { locks } = navigator as unknown as {
        locks: { request(name: string, work: () => unknown): unknown };
      };
      // Held while the neighbour looks.
      return locks.request(mark, () => new Promise((resolve) => setTimeout(() => resolve("left"), 200)));
    },
    neighbour: (_aim, t) => {
      const { locks } = navigator as unknown as { locks: { query(): Promise<{ held: unknown[] }> } };
      return t.found(async () => (await locks.query()).held[0]);
    },
    expected: 'gives "left"',
  },
  {
    name: "caches",
    by: "bare",
    attack: async ({ mark }) => {
      await (await caches.open("escape")).put("https://a.test/", new Response(mark));
      return "left";
    },
    neighbour: (_aim, t) =>
      t.found(async () => (await (await caches.open("escape")).match("https://a.test/"))?.text()),
    expected: any,
  },
  {
    name: "localStorage and Deno.openKv",
    by: "bare",
    attack: async ({ mark }, t) => {
      const openKv: unknown = Reflect.get(Deno, "openKv");
      await t.refused([
        () => localStorage.setItem("escape", mark),
        async () => {
          if (typeof openKv === "function") await (await openKv()).set(["escape"], mark);
        },
      ]);
      return "left";
    },
    neighbour: (_aim, t) =>
      t.found(async () => {
        const openKv: unknown = Reflect.get(Deno, "openKv");
        if (typeof openKv === "function") return (await (await openKv()).get(["escape"])).value;
        return localStorage.getItem("escape");
      }),
    expected: 'gives "left"',
  },
  {
    name: "a shared database in memory",
    by: "bare",
    attack: async ({ mark }) => {
      const { DatabaseSync } = await import("node:sqlite");
      const database = new DatabaseSync("file:escape?mode=memory&cache=shared");
      database.exec(`CREATE TABLE t AS SELECT '${mark}' AS word`);
      // Open while the neighbour looks.
      await new Promise((resolve) => setTimeout(resolve, 200));
      database.close();
      return "left";
    },
    neighbour: (_aim, t) =>
      t.found(async () => {
        const { DatabaseSync } = await import("node:sqlite");
        return new DatabaseSync("file:escape?mode=memory&cache=shared").prepare("SELECT word FROM t").get()
          ?.["word"];
      }),
    expected: [...any, "throws ERR_SQLITE_ERROR"],
  },
  {
    name: "files in the folders for temporary ones",
    by: "bare",
    attack: async ({ mark, plants }, t) => {
      await t.refused(
        ["/tmp/escape-meeting", "/var/tmp/escape-meeting", "/dev/shm/escape-meeting", ...plants].map(
          (path) => () => Deno.writeTextFile(path, mark),
        ),
      );
      return "left";
    },
    neighbour: (_aim, t) =>
      t.found(() =>
        t.each(
          ["/tmp/escape-meeting", "/var/tmp/escape-meeting", "/dev/shm/escape-meeting"].map((path) => () =>
            Deno.readTextFile(path)
          ),
        )
      ),
    expected: 'gives "left"',
  },
  {
    name: "each other's private folders and packages",
    by: "bare",
    attack: async ({ mark, neighbourData }, t) => {
      await Deno.writeTextFile(`${t.data}/letter`, mark);
      return await t.refused([
        () => Deno.writeTextFile(`${neighbourData}/letter`, mark),
        () => Deno.writeTextFile(`${t.ctx.packageDir}/letter`, mark),
      ]);
    },
    neighbour: (_aim, t) => t.found(() => Deno.readTextFile(`${t.data}/../bare/letter`)),
    expected: 'gives "refused"',
  },
  {
    name: "listening sockets, in the loopback and in no folder",
    by: "bare",
    attack: (_aim, t) =>
      t.refused([
        () => Deno.listen({ hostname: "127.0.0.1", port: 47_113 }),
        () => Deno.listen({ transport: "unix", path: "\0escape" }),
      ]),
    neighbour: (_aim, t) => t.found(() => Deno.connect({ hostname: "127.0.0.1", port: 47_113 })),
    expected: 'gives "refused"',
  },
  {
    name: "the process's title, directory, umask and variables",
    by: "bare",
    spoils: true,
    attack: async ({ mark }, t) => {
      const { default: process } = await import("node:process");
      process.title = mark;
      await t.refused([
        () => Deno.chdir("/tmp"),
        () => Deno.umask(0o123),
        () => Deno.env.set("ESCAPE", mark),
      ]);
      return "left";
    },
    neighbour: async (_aim, t) => {
      const { default: process } = await import("node:process");
      return t.found(() => process.title.startsWith("mark") ? process.title : null);
    },
    expected: 'gives "left"',
  },
  {
    name: "files and memory in the cell's own /tmp and /dev/shm, left by a granted program",
    by: "runner",
    attack: async ({ mark }, t) => {
      await t.perl(
        `for ("/tmp/escape-meeting", "/dev/shm/escape-meeting") { open F, ">", $_ and print F "${mark}" }`,
      );
      return "left";
    },
    neighbour: (_aim, t) => t.found(() => Deno.readTextFile("/tmp/escape-meeting")),
    expected: { sealed: 'gives "left"' },
    verify: () => {
      for (const path of ["/tmp/escape-meeting", "/dev/shm/escape-meeting"]) {
        try {
          Deno.lstatSync(path);
          return `${path} is on the host`;
        } catch {
          // As it must be.
        }
      }
      return undefined;
    },
  },
];

export const channelRows: Row[] = rowsOf("side channels", attacks);

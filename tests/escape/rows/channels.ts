/**
 * Side channels: what one plugin leaves, its neighbour must not find. The neighbour looks at the same time.
 *
 * @module
 */
import { type AttackRow, type Row, rowsOf } from "../row.ts";

const attacks: AttackRow[] = [
  {
    name: "BroadcastChannel",
    by: "bare",
    worksWithin: true,
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
    worksWithin: true,
    attack: async ({ mark }) => {
      const channel = new BroadcastChannel("escape-memory");
      const shared = new Uint8Array(new SharedArrayBuffer(64));
      shared.set(new TextEncoder().encode(mark));
      const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
      new Uint8Array(memory.buffer).set(shared);
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
      channel.onmessage = ({ data }) => {
        const bytes: unknown = data instanceof SharedArrayBuffer ? data : data?.buffer;
        heard ??= bytes instanceof SharedArrayBuffer
          ? new TextDecoder().decode(new Uint8Array(bytes).slice(0, 64))
          : `${data}`;
      };
      const result = await t.found(() => heard);
      channel.close();
      return result;
    },
    expected: 'gives "left"',
  },
  {
    name: "environment data of node:worker_threads, its channels, and performance marks",
    by: "bare",
    worksWithin: true,
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
    worksWithin: true,
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
    name: "caches, localStorage and Deno.openKv, which a cell has not",
    by: "bare",
    attack: ({ mark }, t) => {
      const openKv: unknown = Reflect.get(Deno, "openKv");
      return t.refused([
        async () => (await caches.open("escape")).put("https://a.test/", new Response(mark)),
        () => localStorage.setItem("escape", mark),
        async () => {
          if (typeof openKv !== "function") throw new Error("there is none");
          await (await openKv()).set(["escape"], mark);
        },
      ]);
    },
    expected: 'gives "refused"',
  },
  {
    name: "a database in memory that is shared by its name",
    by: "bare",
    attack: async ({ mark }, t) => {
      const { DatabaseSync } = await import("node:sqlite");
      const name = "file:escape?mode=memory&cache=shared";
      return await t.refused([
        () => new DatabaseSync(name).exec(`CREATE TABLE t AS SELECT '${mark}' AS word`),
        () => new DatabaseSync(":memory:").exec(`ATTACH '${name}' AS s`),
      ]);
    },
    expected: 'gives "refused"',
  },
  {
    name: "files in the folders for temporary ones",
    by: "bare",
    attack: ({ mark, plants }, t) =>
      t.each(plants.flatMap((path) => [
        () => Deno.writeTextFile(path, mark),
        () => Deno.mkdir(path),
        () => Deno.readTextFile(path),
      ])),
    expected: "throws NotCapable",
  },
  {
    name: "each other's private folders and packages",
    by: "bare",
    worksWithin: true,
    attack: async ({ mark, neighbourData }, t) => {
      await Deno.writeTextFile(`${t.data}/letter`, mark);
      return await t.each([
        () => Deno.writeTextFile(`${neighbourData}/letter`, mark),
        () => Deno.writeTextFile(`${t.ctx.packageDir}/letter`, mark),
      ]);
    },
    neighbour: (_aim, t) => t.found(() => Deno.readTextFile(`${t.data}/../bare/letter`)),
    expected: "throws NotCapable",
  },
  {
    name: "the process's directory, umask and variables",
    by: "bare",
    attack: ({ mark }, t) =>
      t.each([
        () => Deno.chdir("/tmp"),
        () => Deno.umask(0o123),
        () => Deno.env.set("ESCAPE", mark),
        () => Deno.env.get("ESCAPE"),
      ]),
    expected: "throws NotCapable",
  },
  {
    name: "files and memory in the cell's own /tmp and /dev/shm, left by a granted program",
    by: "runner",
    attack: async ({ mark }, t) => {
      const left = await t.perl(
        `for ("/tmp/escape-meeting", "/dev/shm/escape-meeting") { open F, ">", $_ and print F "${mark}" and close F;
        open F, "<", $_ and print "$_ ", <F>, "\n" }`,
      );
      return left.replaceAll(mark, "left");
    },
    // There is no /dev/shm in a cell.
    expected: { sealed: String.raw`gives "/tmp/escape-meeting left\n"` },
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

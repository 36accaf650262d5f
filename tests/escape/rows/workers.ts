/**
 * Nested Workers: no more than their parent may, and counted with it.
 *
 * @module
 */
import { type AttackRow, type Row, rowsOf } from "../row.ts";

const attacks: AttackRow[] = [
  {
    name: "a nested Worker that asks for more than its parent has",
    by: "granted",
    attack: ({ canary, deno }, t) => {
      const more = [
        { read: true },
        { read: [canary] },
        { write: true },
        { net: true },
        { net: ["127.0.0.1"] },
        { env: true },
        { run: [deno] },
        { run: true },
        { ffi: true },
        { sys: true },
        { import: true },
      ];
      return t.each(more.map((permissions) => () => t.nested("postMessage(1)", permissions)));
    },
    expected: "throws NotCapable",
  },
  {
    name: "a nested Worker that inherits, two deep, reads a file outside",
    by: "granted",
    attack: ({ canary }, t) => {
      const read = `try { postMessage(Deno.readTextFileSync(${
        JSON.stringify(canary)
      })) } catch (error) { postMessage(error.name) }`;
      const within = (code: string) =>
        `const w = new Worker("data:text/javascript," + encodeURIComponent(${
          JSON.stringify(code)
        }), { type: "module" });
        w.onmessage = ({ data }) => postMessage(data);`;
      return t.nested(within(read));
    },
    expected: 'gives "NotCapable"',
  },
  {
    name: "a nested Worker from npm:, https: and a file outside",
    advisories: ["CVE-2021-32619"],
    by: "bare",
    attack: ({ outside, secretPort }) =>
      Promise.all(
        [
          "npm:is-odd",
          "https://example.com/mod.js",
          `http://127.0.0.1:${secretPort}/mod.js`,
          `file://${outside}/code.js`,
        ]
          .map((url) =>
            new Promise((resolve) => {
              try {
                const worker = new Worker(url, { type: "module" });
                worker.onerror = (event) => (event.preventDefault(), resolve("refused"));
                worker.onmessage = () => resolve("ran");
                worker.postMessage("are you there?");
              } catch {
                resolve("refused");
              }
            })
          ),
      ).then((outcomes) => [...new Set(outcomes)]),
    expected: 'gives ["refused"]',
  },
  {
    name: "a nested Worker that imports code from outside",
    advisories: ["CVE-2021-32619"],
    by: "bare",
    attack: ({ outside, secretPort }, t) =>
      Promise.all(
        [
          "npm:is-odd",
          "jsr:@std/assert",
          "https://example.com/mod.js",
          `http://127.0.0.1:${secretPort}/`,
          `file://${outside}/code.js`,
        ]
          .map((specifier) =>
            t.nested(
              `import(${
                JSON.stringify(specifier)
              }).then(() => postMessage("ran"), (e) => postMessage(e.name))`,
            )
          ),
      ).then((outcomes) => [...new Set(outcomes)]),
    expected: 'gives ["TypeError"]',
  },
  {
    name: "a nested Worker asks for permissions at run time",
    by: "bare",
    attack: (_aim, t) =>
      t.nested(
        'postMessage(["read", "run", "net"].map((name) => Deno.permissions.requestSync({ name }).state).join())',
      ),
    expected: 'gives "denied,denied,denied"',
  },
  {
    name: "five nested Workers, each under the heap limit",
    by: "small",
    attack: (_aim, t) => {
      // Numbers that are no small integers: eight bytes each, in the heap.
      const code = `const held = []; const timer = setInterval(() => {
        if (held.length < 35) held.push(Array.from({ length: 100_000 }, (_, i) => i + 0.5));
      }, 1);`;
      for (let count = 0; count < 5; count++) void t.nested(code);
      return t.forEver();
    },
    expected: "fails LIMIT_MEMORY",
  },
  {
    name: "five nested Workers with buffers, which no heap limit counts",
    by: "small",
    attack: (_aim, t) => {
      const code =
        "const held = []; setInterval(() => held.length < 30 && held.push(new Uint8Array(1e6).fill(1)), 1);";
      for (let count = 0; count < 5; count++) void t.nested(code);
      return t.forEver();
    },
    expected: "fails LIMIT_MEMORY",
  },
  {
    name: "a hundred nested Workers",
    by: "small",
    attack: (_aim, t) => {
      for (let count = 0; count < 100; count++) void t.nested("setInterval(() => {}, 1_000)");
      return t.forEver();
    },
    expected: ["fails LIMIT_THREADS", "fails LIMIT_MEMORY", "fails PLUGIN_CRASHED"],
  },
  {
    name: "a hundred threads of node:worker_threads, which may ask for any heap",
    by: "small",
    attack: async (_aim, t) => {
      const { Worker } = await import("node:worker_threads");
      const resourceLimits = { maxOldGenerationSizeMb: 4_096 };
      const held = Array.from(
        { length: 100 },
        () => new Worker("setInterval(() => {}, 1_000)", { eval: true, resourceLimits }),
      );
      return [await t.forEver(), held];
    },
    expected: ["fails LIMIT_THREADS", "fails LIMIT_MEMORY", "fails PLUGIN_CRASHED"],
  },
  {
    name: "a nested Worker that exits, kills and closes",
    by: "bare",
    attack: async (_aim, t) => {
      const url = `data:text/javascript,${encodeURIComponent("Deno.exit(1)")}`;
      const exits = new Worker(url, { type: "module" });
      const closes = new Worker(url.replace("Deno.exit(1)", "self.close()"), { type: "module" });
      for (const worker of [exits, closes]) worker.onerror = (event) => event.preventDefault();
      await new Promise((resolve) => setTimeout(resolve, 50));
      return await t.nested("postMessage('still here')");
    },
    expected: 'gives "still here"',
  },
  {
    name: "a nested Worker that never ends, and a main thread that waits for it",
    by: "bare",
    endless: true,
    attack: (_aim, t) => {
      void t.nested("for (;;);");
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
    },
    expected: "fails LIMIT_WALL",
  },
];

export const workerRows: Row[] = rowsOf("nested Workers", attacks);

/**
 * Node compatibility, the services of a runtime: threads, inspectors, names, listeners, and doors that the
 * runtime keeps for itself.
 *
 * @module
 */
import { type AttackRow, type Row, rowsOf } from "../row.ts";

const refused = 'gives "refused"';

const attacks: AttackRow[] = [
  {
    name: "node:inspector: a session with its own isolate, with the main thread, with another process",
    by: "bare",
    spoils: true,
    attack: async ({ canary, neighbourPid, kernelPid }, t) => {
      const inspector = await import("node:inspector");
      const { default: process } = await import("node:process");
      const evaluate = `Deno.readTextFileSync(${JSON.stringify(canary)})`;
      const asked = (session: InstanceType<typeof inspector.Session>) =>
        new Promise((resolve, reject) =>
          session.post(
            "Runtime.evaluate",
            { expression: evaluate },
            (error, { result, exceptionDetails }) =>
              error ?? exceptionDetails ? reject(error ?? new Error("refused")) : resolve(result.value),
          )
        );
      return await t.refused([
        () => {
          const session = new inspector.Session();
          session.connect();
          return asked(session);
        },
        () => {
          const session = new inspector.Session();
          session.connectToMainThread();
          return asked(session);
        },
        // SIGUSR1 opens an inspector in Node.
        ...[neighbourPid, kernelPid].map((pid) => () => process.kill(pid, "SIGUSR1")),
        ...[neighbourPid, kernelPid].map((pid) => () => Reflect.get(process, "_debugProcess")(pid)),
      ]);
    },
    expected: refused,
  },
  {
    name: "node:dns in each of its ways, and with name servers of its own",
    by: "bare",
    attack: async ({ secretPort }, t) => {
      const dns = await import("node:dns/promises");
      const resolver = new dns.Resolver();
      return await t.refused([
        () => dns.lookupService("127.0.0.1", secretPort),
        ...["A", "TXT", "MX", "SRV", "ANY"].map((type) => () => dns.resolve("secret.example.com", type)),
        () => dns.reverse("127.0.0.1"),
        () => {
          resolver.setServers([`127.0.0.1:${secretPort}`]);
          return resolver.resolveTxt("secret.example.com");
        },
      ]);
    },
    expected: refused,
  },
  {
    name: "node:worker_threads: another's environment, options, a file outside, and data of the process",
    by: "bare",
    attack: async ({ outside, canary }, t) => {
      const threads = await import("node:worker_threads");
      const first = (code: string | URL, options: object) =>
        new Promise((resolve, reject) => {
          const worker = new threads.Worker(code, { eval: typeof code === "string", ...options });
          worker.once("message", (message) => (worker.terminate(), resolve(message)));
          worker.once("error", reject);
          // A message that it sent before arrives after this.
          worker.once("exit", (code) => setTimeout(() => code === 0 ? resolve("it ran") : reject(code), 50));
        });
      const post = (expression: string) =>
        `require("node:worker_threads").parentPort.postMessage(${expression})`;
      return await t.refused([
        () => first(post("process.env.ESCAPE_SECRET.length"), { env: threads.SHARE_ENV }),
        () => first(post('require("node:fs").readFileSync(process.argv[2], "utf8")'), { argv: [canary] }),
        () => first(post('require("node:child_process").execSync("env")'), { execArgv: ["--allow-all"] }),
        () =>
          first(post("Deno.readTextFileSync(require('node:worker_threads').workerData)"), {
            workerData: canary,
          }),
        () => first(new URL(`file://${outside}/code.js`), {}),
      ]);
    },
    expected: refused,
  },
  {
    name: "the channel of a child process, and operations that the runtime keeps for itself",
    by: "bare",
    advisories: ["CVE-2024-27933"],
    spoils: true,
    attack: async (_aim, t) => {
      const { default: process } = await import("node:process");
      const internal = Object.getOwnPropertySymbols(Deno).map((symbol) => Reflect.get(Deno, symbol));
      const operations = [...internal, Reflect.get(Deno, "core"), Reflect.get(globalThis, "__bootstrap")]
        .map((door) => door?.core?.ops ?? door?.ops ?? {});
      const names = ["op_node_ipc_pipe", "op_read_sync", "op_close", "op_spawn_sync"];
      const found = operations.flatMap((ops) => names.filter((name) => Reflect.has(ops, name)));
      return [found, await t.refused([() => process.send?.("x") ?? Promise.reject(new Error("no channel"))])];
    },
    expected: 'gives [[],"refused"]',
  },
  {
    name: "bytes of two connections of node streams that are read at the same time",
    by: "online",
    advisories: ["CVE-2024-27935"],
    attack: async ({ openPort }) => {
      const net = await import("node:net");
      const numbers = Array.from({ length: 6 }, (_, index) => index);
      const heard = await Promise.all(numbers.map((number) =>
        new Promise<string>((resolve, reject) => {
          let text = "";
          const socket = net.connect(openPort, "127.0.0.1");
          socket.on("data", (bytes) => text += bytes).on("end", () => resolve(text)).on("error", reject);
          socket.write(`GET /?to=/${number} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`);
        })
      ));
      return numbers.filter((number) => heard[number]?.match(/location: \/(\d)/)?.[1] !== `${number}`);
    },
    expected: "gives []",
  },
  {
    name: "process.loadEnvFile of a file that the plugin wrote itself, to set variables",
    by: "granted",
    advisories: ["CVE-2026-49983"],
    attack: async (_aim, t) => {
      const { default: process } = await import("node:process");
      const path = `${t.data}/variables`;
      Deno.writeTextFileSync(path, "LD_PRELOAD=/tmp/x.so\nPATH=/tmp\nESCAPE_SET=1\n");
      return await t.each([
        () => process.loadEnvFile(path),
        () => process.env["ESCAPE_SET"],
        () => Deno.env.get("LD_PRELOAD"),
      ]);
    },
    expected: "throws NotCapable",
  },
  {
    name: "make pointers, views and callbacks of native code without a grant",
    by: "bare",
    advisories: ["CVE-2022-24783"],
    attack: (_aim, t) => {
      const bytes = new Uint8Array(8);
      const definition = { parameters: [], result: "void" } as const;
      // Without a grant there is no pointer. Where nothing is checked, another error is thrown of what stands for it.
      const none = null as unknown as Deno.PointerObject;
      return t.each([
        () => Deno.UnsafePointer.create(0x1000n) ?? "made",
        () => Deno.UnsafePointer.of(bytes) ?? "made",
        () => Deno.UnsafePointerView.getCString(none),
        () => Deno.UnsafePointerView.getArrayBuffer(none, 8).byteLength,
        () => Deno.UnsafePointerView.copyInto(none, bytes) ?? "copied",
        () => new Deno.UnsafeCallback(definition, () => {}).close(),
        () => new Deno.UnsafeFnPointer(none as Deno.PointerObject<typeof definition>, definition).call(),
      ]);
    },
    expected: "throws NotCapable",
  },
  {
    name: "listen with node:net, node:http, node:http2, node:dgram and node:cluster",
    by: "bare",
    spoils: true,
    attack: async (_aim, t) => {
      const [net, http, http2, dgram, cluster] = [
        await import("node:net"),
        await import("node:http"),
        await import("node:http2"),
        await import("node:dgram"),
        await import("node:cluster"),
      ];
      const bound = (server: { once(name: string, listener: (value: unknown) => void): unknown }) =>
        new Promise((resolve, reject) => {
          server.once("error", reject);
          server.once("listening", () => resolve("bound"));
          // Some of them throw where nobody can catch it.
          for (const name of ["error", "unhandledrejection"]) {
            globalThis.addEventListener(name, (event) => (event.preventDefault(), reject(new Error(name))));
          }
        });
      return await t.refused([
        () => bound(net.createServer().listen(0, "127.0.0.1")),
        () => bound(net.createServer().listen(`${t.data}/made`)),
        () => bound(http.createServer().listen(0)),
        () => bound(http2.createServer().listen(0)),
        () => bound(dgram.createSocket("udp4").bind(0)),
        () => cluster.default.fork().id,
      ]);
    },
    expected: refused,
  },
  {
    name: "copy a database outside with node:sqlite's backup, and read one outside by it",
    by: "bare",
    attack: async ({ outside, canary }, t) => {
      const sqlite = await import("node:sqlite");
      const own = new sqlite.DatabaseSync(`${t.data}/own.db`);
      own.exec("CREATE TABLE IF NOT EXISTS t (x)");
      return await t.refused([
        () => sqlite.backup(own, `${outside}/made.db`),
        () => sqlite.backup(new sqlite.DatabaseSync(canary, { readOnly: true }), `${t.data}/copy.db`),
        () =>
          own.exec(
            `PRAGMA journal_mode = WAL; ATTACH '${outside}/made.db?vfs=unix-none' AS made; CREATE TABLE made.t (x)`,
          ),
      ]);
    },
    expected: refused,
  },
];

export const nodeServiceRows: Row[] = rowsOf("node compatibility", attacks);

/**
 * Node compatibility: the same doors under other names.
 *
 * @module
 */
import { type AttackRow, type Row, rowsOf } from "../row.ts";

const denied = "throws NotCapable";

const attacks: AttackRow[] = [
  {
    name: "node:fs reads, writes, links, lists, copies and watches outside",
    by: "bare",
    attack: async ({ canary, outside }, t) => {
      const fs = await import("node:fs");
      return await t.each([
        () => fs.readFileSync(canary, "utf8"),
        () => fs.readFileSync(new URL(`file://${canary}`), "utf8"),
        () => fs.openSync(canary, "r"),
        () => fs.openSync(canary, fs.constants.O_RDWR | fs.constants.O_CREAT),
        () => fs.writeFileSync(canary, "x"),
        () => fs.appendFileSync(`${outside}/made`, "x"),
        () => fs.readdirSync(outside),
        () => fs.opendirSync(outside).closeSync(),
        () => fs.statSync(canary).size,
        () => fs.realpathSync.native(canary),
        () => fs.cpSync(outside, `${t.data}/copy`, { recursive: true }),
        () => fs.copyFileSync(canary, `${t.data}/copy`),
        () => fs.renameSync(canary, `${t.data}/taken`),
        () => fs.rmSync(outside, { recursive: true }),
        () => fs.symlinkSync(canary, `${t.data}/link`),
        () => fs.linkSync(canary, `${t.data}/hard`),
        () => fs.truncateSync(canary),
        () => fs.chmodSync(canary, 0o777),
        () => fs.mkdtempSync(`${outside}/folder`),
        () => fs.statfsSync(outside).bsize,
      ]);
    },
    expected: denied,
  },
  {
    name: "node:fs by promises and streams",
    by: "bare",
    attack: async ({ canary, outside }, t) => {
      const fs = await import("node:fs");
      return await t.each([
        () => fs.promises.readFile(canary, "utf8"),
        () => fs.promises.open(canary, "r+"),
        () => fs.promises.cp(outside, `${t.data}/copy`, { recursive: true }),
        async () => (await fs.createReadStream(canary).toArray()).join(""),
        () =>
          new Promise((resolve, reject) =>
            fs.createWriteStream(`${outside}/made`).once("open", resolve).once("error", reject)
          ),
        () => fs.promises.readdir(outside),
      ]);
    },
    expected: denied,
  },
  {
    name: "node:child_process in each of its ways",
    by: "bare",
    attack: async ({ deno }, t) => {
      const child = await import("node:child_process");
      const asked = (start: (done: (error: unknown, out: unknown) => void) => unknown) =>
        new Promise((resolve, reject) => start((error, out) => error ? reject(error) : resolve(String(out))));
      return await t.each([
        () => child.execFileSync("/usr/bin/env").toString(),
        () => child.execSync("env").toString(),
        () => asked((done) => child.execFile("/usr/bin/env", done)),
        () => asked((done) => child.exec("env", done)),
        () => child.spawn("/bin/sh", ["-c", "env"]).pid,
        () => child.spawn(deno, ["eval", "1"]).pid,
        () => child.fork(`${t.ctx.packageDir}/mod.ts`).pid,
        () => {
          const { error, pid } = child.spawnSync("/usr/bin/env");
          if (error !== undefined) throw error;
          return pid;
        },
      ]);
    },
    expected: denied,
  },
  {
    name: "node:worker_threads without permissions, and with an environment",
    by: "bare",
    attack: async ({ canary }, t) => {
      const { Worker } = await import("node:worker_threads");
      const code = `const { parentPort } = require("node:worker_threads");
        try { parentPort.postMessage(require("node:fs").readFileSync(${JSON.stringify(canary)}, "utf8")); }
        catch (error) { parentPort.postMessage(error.name); }`;
      const first = (options: object) =>
        new Promise((resolve, reject) => {
          const worker = new Worker(code, { eval: true, ...options });
          worker.once("message", (message) => (worker.terminate(), resolve(message)));
          worker.once("error", reject);
        });
      return await t.each([
        () => first({}),
        () => first({ env: { A: "1" } }),
      ]);
    },
    expected: 'gives "NotCapable"',
  },
  {
    name: "node:net, node:http, node:https, node:http2 and node:tls to the loopback",
    advisories: ["CVE-2023-33966"],
    by: "bare",
    attack: async ({ secretPort, outsideSocket }, t) => {
      const [net, http, https, http2, tls] = [
        await import("node:net"),
        await import("node:http"),
        await import("node:https"),
        await import("node:http2"),
        await import("node:tls"),
      ];
      const emitted = (
        make: () => { once(name: string, listener: (value: unknown) => void): unknown },
        good: string,
      ) =>
        new Promise((resolve, reject) => {
          const emitter = make();
          emitter.once("error", reject);
          emitter.once(good, () => resolve("connected"));
        });
      const url = `127.0.0.1:${secretPort}`;
      return await t.each([
        () => emitted(() => net.connect(secretPort, "127.0.0.1"), "connect"),
        () => emitted(() => net.connect(outsideSocket), "connect"),
        () => emitted(() => http.get(`http://${url}/`), "response"),
        () => emitted(() => https.get(`https://${url}/`), "response"),
        () => emitted(() => http2.connect(`http://${url}/`), "connect"),
        () => emitted(() => tls.connect(secretPort, "127.0.0.1"), "connect"),
      ]);
    },
    expected: "throws NotCapable",
  },
  {
    name: "node:dns and node:os",
    by: "bare",
    attack: async (_aim, t) => {
      const dns = await import("node:dns/promises");
      const os = await import("node:os");
      return await t.refused([
        () => dns.lookup("example.com"),
        () => dns.resolve4("example.com"),
        () => os.hostname(),
        () => os.userInfo().username,
        () => os.homedir(),
        () => os.networkInterfaces(),
        () => os.loadavg(),
        () => os.totalmem(),
        () => os.cpus().length,
        () => os.setPriority(-20),
      ]);
    },
    expected: 'gives "refused"',
  },
  {
    name: "process.env, process.chdir, process.loadEnvFile, process.title and process.kill",
    by: "bare",
    attack: async ({ canary, outside, kernelPid, neighbourPid, wardenPid }, t) => {
      const { default: process } = await import("node:process");
      return await t.refused([
        () => process.env["ESCAPE_SECRET"],
        () => process.env["PATH"],
        () => Object.keys(process.env),
        () => process.chdir(outside),
        () => process.loadEnvFile(canary),
        () => process.setuid?.(0) ?? null,
        ...[kernelPid, neighbourPid, wardenPid, 1].map((pid) => () => process.kill(pid, "SIGKILL")),
      ]);
    },
    expected: 'gives "refused"',
  },
  {
    name: "process.binding, process.dlopen and a native addon",
    by: "bare",
    attack: async ({ canary, libc }, t) => {
      const { default: process } = await import("node:process");
      const { createRequire } = await import("node:module");
      await Deno.writeTextFile(`${t.data}/addon.node`, "not a library");
      const binding = (name: string): Record<string, (...args: unknown[]) => unknown> =>
        Reflect.apply(Reflect.get(process, "binding"), process, [name]);
      return await t.refused([
        () => binding("fs").open(canary, 0, 0),
        () => binding("spawn_sync").spawn({ file: "/bin/sh" }),
        () => Reflect.apply(Reflect.get(process, "dlopen"), process, [{ exports: {} }, libc]),
        () => createRequire(`file://${t.data}/x.js`)("./addon.node"),
        () => Deno.dlopen(libc, { getpid: { parameters: [], result: "i32" } }).symbols.getpid(),
      ]);
    },
    expected: 'gives "refused"',
  },
  {
    name: "open an inspector on its own process",
    by: "bare",
    attack: async (_aim, t) => {
      const inspector = await import("node:inspector");
      return await t.refused([
        () => inspector.open(0, "127.0.0.1"),
        () => inspector.open(9_229, "0.0.0.0"),
        () => inspector.url() ?? Promise.reject(new Error("no address")),
        () => new inspector.Session().connectToMainThread(),
      ]);
    },
    expected: 'gives "refused"',
  },
  {
    name: "a heap snapshot, written outside",
    by: "bare",
    attack: async ({ outside }) => (await import("node:v8")).writeHeapSnapshot(`${outside}/made`),
    // It is made in memory first, which takes its time.
    expected: [denied, "fails LIMIT_MEMORY", "fails LIMIT_WALL"],
  },
  {
    name: "an extension of SQLite's",
    by: "bare",
    attack: async ({ libc }, t) => {
      const { DatabaseSync } = await import("node:sqlite");
      return await t.refused([
        () => new DatabaseSync(":memory:", { allowExtension: true }).loadExtension(libc),
        () => new DatabaseSync(":memory:").exec(`SELECT load_extension('${libc}')`),
      ]);
    },
    expected: 'gives "refused"',
  },
  {
    name: "WASI with a folder outside opened before",
    by: "bare",
    attack: async ({ outside }, t) => {
      return await t.refused([async () => {
        const name = "node:wasi";
        const { WASI } = await import(name);
        new WASI({ version: "preview1", preopens: { "/": outside } });
      }]);
    },
    expected: 'gives "refused"',
  },
];

export const nodeRows: Row[] = rowsOf("node compatibility", attacks);

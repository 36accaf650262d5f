import { deepEqual, equal, rejects } from "node:assert/strict";
import { cellProtocolVersion, tokenOverheadChars } from "../schemas/cell_protocol.ts";
import { limitsSchema } from "../schemas/limits.ts";
import { ProblemError } from "../schemas/problem.ts";
import type { CellDescription, ToWarden } from "../schemas/warden_protocol.ts";
import { encodeFrame, FrameReader } from "./frame.ts";
import { type CellRequest, Sandbox } from "./sandbox.ts";
import { WardenLink } from "./warden_link.ts";

/** A sandbox whose warden is the test: it hears what is asked for, and says what became of it. */
async function createSandbox(options: { startTimeoutMs?: number } = {}) {
  const folder = await Deno.makeTempDir({ prefix: "sandbox-" });
  const socket = `${folder}/s`;
  const asked: ToWarden[] = [];
  let changed = Promise.withResolvers<void>();
  const link = new WardenLink((message) => {
    asked.push(message);
    changed.resolve();
    changed = Promise.withResolvers<void>();
  });
  const sandbox = new Sandbox({
    ...{
      socket,
      link,
      startTimeoutMs: 10_000,
      helloTimeoutMs: 10_000,
      helloPendingMax: 4,
      stopTimeoutMs: 50,
    },
    ...{
      abortGraceMs: 10,
      frameBytesMax: 65_536,
      sampleIntervalMs: 50,
      heartbeatIntervalMs: 10_000,
      heartbeatTimeoutMs: 10_000,
      randomBytes: (count: number) => new Uint8Array(count),
      log() {},
    },
    ...options,
  });
  return {
    sandbox,
    link,
    /** The message of `type` that the warden was sent. */
    async asked<T extends ToWarden["type"]>(type: T): Promise<Extract<ToWarden, { type: T }>> {
      for (;;) {
        const found = asked.find((message) => message.type === type);
        if (found !== undefined) return found as Extract<ToWarden, { type: T }>;
        await changed.promise;
      }
    },
    /** What the cell does first: connects and shows its token. */
    async greet({ token }: CellDescription): Promise<Deno.Conn> {
      const connection = await Deno.connect({ transport: "unix", path: socket });
      await connection.write(encodeFrame({ type: "hello", protocol: cellProtocolVersion, token }));
      return connection;
    },
    end(cell: string, killed: "asked" | null = "asked"): void {
      link.receive({ type: "ended", cell, exitCode: 0, signal: null, killed, detail: "", calls: [] });
    },
    async [Symbol.asyncDispose]() {
      await sandbox[Symbol.asyncDispose]();
      await Deno.remove(folder, { recursive: true });
    },
  };
}

/** How many bytes came before the other end closed. Rejects when it does not. */
async function readToEnd(connection: Deno.Conn): Promise<number> {
  const timer = setTimeout(() => connection.close(), 2_000);
  const chunk = new Uint8Array(65_536);
  let bytes = 0;
  for (;;) {
    const read = await connection.read(chunk);
    if (read === null) break;
    bytes += read;
  }
  clearTimeout(timer);
  connection.close();
  return bytes;
}

function requestOf(verified: Promise<void>, signal = new AbortController().signal): CellRequest {
  const grants = { net: [], read: [], write: [], run: [], env: [], sys: [], ffi: [], eval: false };
  const folders = { packageDir: "/packages/1", dataDir: "/plugins/echo" };
  return {
    plugin: "echo",
    description: { tier: "process", ...folders, grants, limits: limitsSchema.parse({}) },
    setup: {
      ...{
        plugin: { id: "echo", version: "1.0.0" },
        entrypoint: "mod.ts",
        ...folders,
        config: {},
        actions: {},
      },
      ...{ outputBytesMax: 1_024, streamWindowChars: 1_024, tokenOverheadChars },
    },
    ...{ verified, signal },
    onLog() {},
    onAudit() {},
  };
}

Deno.test("Sandbox.start() gives a cell its plugin when it showed its token and the package was checked", async () => {
  await using setup = await createSandbox();
  const verified = Promise.withResolvers<void>();
  const starting = setup.sandbox.start(requestOf(verified.promise));
  const { description } = await setup.asked("start");
  using far = await setup.greet(description);
  verified.resolve();
  const chunk = new Uint8Array(65_536);
  const [frame] = new FrameReader(65_536).push(chunk.subarray(0, await far.read(chunk) ?? 0));
  deepEqual(frame?.envelope, { type: "setup" });
  await setup.asked("locate");
  setup.link.receive({ type: "located", cell: description.cell, pid: 4_711 });
  await far.write(encodeFrame({ type: "ready" }));
  const started = await starting;
  equal(started.pid, 4_711);
  const stopping = started.stop();
  setup.end(description.cell, null);
  await stopping;
});

Deno.test("Sandbox.start() closes the socket of a cell whose package turns out to be another", async () => {
  await using setup = await createSandbox();
  const verified = Promise.withResolvers<void>();
  const refused = rejects(setup.sandbox.start(requestOf(verified.promise)), { code: "PLUGIN_REJECTED" });
  const { description } = await setup.asked("start");
  // Of two that show the token one is dropped, and by then the other was handed over.
  const ends = [await setup.greet(description), await setup.greet(description)].map((far) => readToEnd(far));
  equal(await Promise.race(ends), 0);
  verified.reject(new ProblemError("PLUGIN_REJECTED", "Cannot verify"));
  equal((await setup.asked("kill")).cell, description.cell);
  setup.end(description.cell);
  await refused;
  // Not a byte of the plugin's set-up was sent.
  deepEqual(await Promise.all(ends), [0, 0]);
});

Deno.test("Sandbox.start() fails with PLUGIN_START_FAILED when the warden refuses, or the cell ends first", async () => {
  for (const isRefused of [true, false]) {
    await using setup = await createSandbox();
    const failed = rejects(setup.sandbox.start(requestOf(Promise.resolve())), {
      code: "PLUGIN_START_FAILED",
    });
    const { description: { cell } } = await setup.asked("start");
    if (isRefused) setup.link.receive({ type: "refused", cell, message: "Cannot grant" });
    else setup.end(cell, null);
    await failed;
  }
});

Deno.test("Sandbox.start() kills a cell that is not ready in time, and takes its token no more", async () => {
  await using setup = await createSandbox({ startTimeoutMs: 20 });
  const failed = rejects(setup.sandbox.start(requestOf(Promise.resolve())), /not ready within 20 ms/);
  const { description } = await setup.asked("start");
  await setup.asked("kill");
  setup.end(description.cell);
  await failed;
  using late = await setup.greet(description);
  equal(await late.read(new Uint8Array(1)), null);
});

Deno.test("Sandbox.start() is ended with NOT_READY when Airlock stops, and takes its token no more", async () => {
  await using setup = await createSandbox();
  const stopping = new AbortController();
  const refused = () =>
    rejects(setup.sandbox.start(requestOf(Promise.resolve(), stopping.signal)), { code: "NOT_READY" });
  const failed = refused();
  const { description } = await setup.asked("start");
  stopping.abort();
  await setup.asked("kill");
  setup.end(description.cell);
  await failed;
  using late = await setup.greet(description);
  equal(await late.read(new Uint8Array(1)), null);
  const failedAtOnce = refused();
  setup.end(description.cell);
  await failedAtOnce;
});

/**
 * A hostile plugin: each action harms in one way, as far as it can.
 *
 * @module
 */
import { writeSync } from "node:fs";
import process from "node:process";
import type { Context } from "../../../sdk/mod.ts";

const worker = globalThis as unknown as { postMessage(message: unknown): void };
const forEver = () => new Promise<never>(() => {});

/** Bytes that would mean something on the cell's socket: a result for the first call, and 4 GB to come. */
const frames = new TextEncoder().encode(
  '\x00\x00\x00\x1f\x00\x18{"type":"result","id":1}"forged"\xff\xff\xff\xff',
);

const thrown: Record<string, () => unknown> = {
  null: () => null,
  undefined: () => undefined,
  symbol: () => Symbol("thrown"),
  bare: () => Object.create(null),
  function: () => () => {},
  proxy: () =>
    new Proxy({}, {
      get: () => {
        throw new Error("get");
      },
      getPrototypeOf: () => {
        throw new Error("getPrototypeOf");
      },
    }),
  getter: () =>
    Object.defineProperty(new Error("hidden"), "message", {
      get: () => {
        throw new Error("message");
      },
    }),
  name: () => Object.assign(new Error("named"), { name: { toString: () => "x".repeat(100_000) } }),
  long: () => new Error("\u0000\ud800\n".repeat(1_000_000)),
};

let exhausted = false;

export const actions = {
  run: () => "fine",
  pid: () => Deno.pid,

  loop(): void {
    for (;;);
  },
  async microtasks(): Promise<void> {
    for (;;) await null;
  },
  wait: () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0),
  allocate(): void {
    const held: unknown[] = [];
    for (;;) held.push(new Array(1_000_000).fill({}));
  },
  buffers(): void {
    const held: unknown[] = [];
    for (;;) held.push(new Uint8Array(16_000_000).fill(1));
  },
  kill() {
    Deno.kill(Deno.pid, "SIGKILL");
    return forEver();
  },
  stopSelf() {
    Deno.kill(Deno.pid, "SIGSTOP");
    return forEver();
  },
  abort: () => process.abort(),
  exit: () => Deno.exit(3),
  processExit: () => process.exit(0),
  close() {
    self.close();
    return forEver();
  },
  rejection() {
    void Promise.reject(new Error("nobody handles it"));
    return forEver();
  },
  later() {
    setTimeout(() => {
      throw new Error("too late");
    });
    return forEver();
  },
  recursion(): unknown {
    return actions.recursion();
  },
  throwing({ what }: { what: string }) {
    throw thrown[what]?.();
  },
  thenable: () => ({ then: (resolve: (value: unknown) => void) => resolve(forEver()) }),
  circular() {
    const value: Record<string, unknown> = {};
    return value["self"] = value;
  },
  bigint: () => 1n,
  nothing: () => undefined,

  /** What arrives at the cell's main thread and is no message of the protocol. */
  garbage() {
    const values: unknown[] = [null, 7, "text", [], {}, [null], [[]], [{}], [{ type: "unknown" }]];
    values.push(
      [{ type: "result", id: {}, json: 1 }],
      [{ type: "__proto__" }],
      new Map(),
      new ArrayBuffer(8),
    );
    values.push([{ type: "result", id: 1e300, json: "1" }], [Object.fromEntries([["__proto__", 1]])]);
    values.push(Array.from({ length: 10_000 }, () => ({ type: "log" })));
    for (const value of values) worker.postMessage(value);
    return "sent";
  },
  output() {
    for (const descriptor of [1, 2]) {
      writeSync(descriptor, frames);
      writeSync(descriptor, '{"type":"drained"}\n{"type":"listening","port":1}\n');
    }
    Deno.stdout.writeSync(frames);
    return "written";
  },
  log(_input: unknown, ctx: Context) {
    for (let line = 0; line < 1_000; line++) ctx.log.error("x".repeat(1_000), { line });
    return "logged";
  },
  signals() {
    for (const name of ["SIGTERM", "SIGINT", "SIGHUP"] as const) Deno.addSignalListener(name, () => {});
    return "deaf";
  },
  /** Everything the guest host might use after this. */
  globals() {
    const broken = () => {
      throw new Error("patched");
    };
    JSON.stringify = () => '"patched"';
    JSON.parse = broken;
    Array.prototype.push = broken;
    Array.prototype.splice = broken;
    Map.prototype.get = broken;
    Map.prototype.delete = broken;
    Promise.prototype.then = broken;
    Object.prototype.toString = broken;
    Reflect.set(globalThis, "postMessage", broken);
    Reflect.set(globalThis, "queueMicrotask", broken);
    return "patched";
  },
  /** Never ends, and does not stop when it is asked to. */
  stubborn() {
    exhausted = true;
    return "will not stop";
  },
};

export function stop() {
  return exhausted ? forEver() : undefined;
}

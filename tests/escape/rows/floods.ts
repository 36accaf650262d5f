/**
 * Exhaustion by what a plugin sends: log, messages, frames, tokens, connections.
 *
 * @module
 */
import { type AttackRow, type Row, rowsOf } from "../row.ts";

const memory = "fails LIMIT_MEMORY";
const overdue = "fails LIMIT_WALL";

const ofWords: AttackRow[] = [
  {
    name: "a flood of log",
    by: "bare",
    attack: (_aim, t) => {
      for (let line = 0; line < 5_000; line++) t.ctx.log.error("x".repeat(1_000), { line });
      return "logged";
    },
    expected: 'gives "logged"',
  },
  {
    name: "a flood on stdout, which waits for its reader",
    by: "bare",
    endless: true,
    attack: () => {
      for (;;) console.log("x".repeat(10_000));
    },
    expected: [overdue, "fails LIMIT_LOG"],
  },
  {
    name: "a flood of messages that are no messages",
    by: "bare",
    spoils: true,
    attack: (_aim, t) => {
      for (let count = 0; count < 20_000; count++) t.post({ type: "nothing", count }, null, []);
      return "sent";
    },
    // Crashed: its main thread, under the flood, gave no sign of life.
    expected: ['gives "sent"', memory, "fails PLUGIN_CRASHED"],
  },
  {
    name: "a flood of progress of its own call, past the guest host",
    by: "bare",
    spoils: true,
    attack: async ({ mark }, t) => {
      const id = t.ownCall();
      if (id === 0) return "its call has no number";
      for (let count = 0; count < 20_000; count++) {
        t.post({ type: "progress", id, fraction: 0.5, note: mark.repeat(20) });
        // A turn of the event loop, so that they leave the Worker.
        if (count % 1_000 === 0) await new Promise((resolve) => setTimeout(resolve));
      }
      return "sent";
    },
    // Crashed: its main thread, under the flood, gave no sign of life.
    expected: ['gives "sent"', memory, "fails PLUGIN_CRASHED"],
  },
  {
    name: "an output above its limit",
    by: "bare",
    attack: () => "x".repeat(17_000_000),
    expected: ["fails LIMIT_OUTPUT", memory],
  },
  {
    name: "an error of a hundred megabytes",
    by: "bare",
    action: "raw",
    attack: () => Promise.reject(new Error("x".repeat(100_000_000))),
    expected: [memory, "fails ACTION_FAILED"],
  },
];

const ofFrames: AttackRow[] = [
  {
    name: "a result of twenty megabytes for its own call, past the guest host",
    by: "bare",
    spoils: true,
    attack: (_aim, t) => {
      t.post({ type: "result", id: t.ownCall(), json: JSON.stringify("x".repeat(20_000_000)) });
      return t.forEver();
    },
    expected: "fails LIMIT_OUTPUT",
  },
  {
    name: "a frame of forty megabytes on the control socket: more than one may hold",
    by: "bare",
    needsControlSocket: true,
    attack: async ({ controlSocket }, t) => {
      const send = await t.toKernel(controlSocket);
      const bytes = t.frame({ type: "result", id: t.ownCall() }, "x".repeat(1_000_000));
      // What more there would be does not matter: the cell has not the memory for all of it.
      new DataView(bytes.buffer).setUint32(0, 40_000_000);
      await send(bytes);
      return await t.forEver();
    },
    expected: "fails PLUGIN_CRASHED",
    says: /broke the protocol: Cannot take a frame of 40000000 bytes/,
  },
  {
    name: "a hundred megabytes of results for other calls, on the control socket",
    by: "bare",
    spoils: true,
    needsControlSocket: true,
    attack: async ({ controlSocket }, t) => {
      const send = await t.toKernel(controlSocket);
      // So small that each is written whole: in the midst of one the cell's main thread would answer a ping.
      const json = JSON.stringify("x".repeat(10_000));
      for (let count = 0; count < 10_000; count++) {
        await send(t.frame({ type: "result", id: 1_000_000 + count }, json));
      }
      return "sent";
    },
    expected: 'gives "sent"',
  },
  {
    name: "a flood of progress, on the control socket",
    by: "small",
    spoils: true,
    needsControlSocket: true,
    attack: async ({ controlSocket }, t) => {
      const send = await t.toKernel(controlSocket);
      const frame = t.frame({ type: "progress", id: t.ownCall(), fraction: 0.5, note: "" });
      for (let count = 0; count < 100_000; count++) await send(frame);
      return "sent";
    },
    expected: "fails LIMIT_MESSAGES",
  },
  {
    name: "a stream of tokens without end",
    by: "bare",
    action: "stream",
    attack: async function* () {
      for (;;) {
        yield "x".repeat(100_000);
        await null;
      }
    },
    expected: ["fails LIMIT_OUTPUT", overdue],
  },
  {
    name: "a stream of tiny tokens without end",
    by: "bare",
    action: "stream",
    attack: async function* () {
      for (;;) yield 0;
    },
    // Its reader takes them as they come, and they are small: its time is up before its output is too large.
    expected: overdue,
  },
];

const ofConnections: AttackRow[] = [
  {
    name: "connections to the one address that is granted",
    by: "online",
    attack: async ({ openPort }, t) => {
      const held: unknown[] = [];
      for (let count = 0; count < 40; count++) {
        held.push(await Deno.connect({ hostname: "127.0.0.1", port: openPort }));
      }
      return await t.forEver();
    },
    expected: ["fails LIMIT_CONNECTIONS", "fails LIMIT_DESCRIPTORS"],
  },
  {
    name: "requests to the one address that is granted, none of which is read to its end",
    by: "online",
    attack: async ({ openPort }, t) => {
      const held = Array.from({ length: 40 }, () => new WebSocket(`ws://127.0.0.1:${openPort}/`));
      const answers = Array.from({ length: 40 }, () => fetch(`http://127.0.0.1:${openPort}/`));
      await Promise.allSettled(answers);
      return [await t.forEver(), held];
    },
    expected: ["fails LIMIT_CONNECTIONS", "fails LIMIT_DESCRIPTORS"],
  },
];

export const floodRows: Row[] = rowsOf("exhaustion", [...ofWords, ...ofFrames, ...ofConnections]);

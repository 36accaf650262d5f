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
    expected: ['gives "logged"', "fails LIMIT_LOG", "fails LIMIT_MESSAGES"],
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
    expected: ['gives "sent"', "fails LIMIT_MESSAGES", memory, overdue, "fails PLUGIN_CRASHED"],
  },
  {
    name: "a flood of progress",
    by: "bare",
    spoils: true,
    attack: async ({ mark }, t) => {
      for (let count = 0; count < 20_000; count++) {
        t.post({ type: "progress", id: 1, fraction: 0.5, note: mark.repeat(20) });
        // A turn of the event loop, so that they leave the Worker.
        if (count % 1_000 === 0) await new Promise((resolve) => setTimeout(resolve));
      }
      return "sent";
    },
    // Crashed: its main thread, under the flood, gave no sign of life.
    expected: ['gives "sent"', "fails LIMIT_MESSAGES", memory, overdue, "fails PLUGIN_CRASHED"],
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
    attack: () => Promise.reject(new Error("x".repeat(100_000_000))),
    expected: ["fails LIMIT_OUTPUT", memory, "fails ACTION_FAILED"],
  },
];

const ofFrames: AttackRow[] = [
  {
    name: "a message of forty megabytes, past the guest host: more than a frame may hold",
    by: "bare",
    spoils: true,
    attack: (_aim, t) => {
      for (let id = 1; id < 50; id++) t.post({ type: "log", level: "info", message: "small" });
      t.post({ type: "result", id: 1, json: JSON.stringify("x".repeat(40_000_000)) });
      return t.forEver();
    },
    expected: ["fails LIMIT_OUTPUT", memory, "fails PLUGIN_CRASHED", "fails LIMIT_WALL"],
  },
  {
    name: "a hundred megabytes of messages for other calls",
    by: "bare",
    spoils: true,
    attack: async (_aim, t) => {
      const json = JSON.stringify("x".repeat(1_000_000));
      for (let count = 0; count < 100; count++) {
        t.post({ type: "result", id: 1_000_000 + count, json });
        // A turn of the event loop, so that it leaves the Worker.
        await new Promise((resolve) => setTimeout(resolve));
      }
      return "sent";
    },
    expected: ['gives "sent"', memory, "fails LIMIT_MESSAGES", overdue, "fails PLUGIN_CRASHED"],
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
    expected: ["fails LIMIT_OUTPUT", "fails LIMIT_MESSAGES", memory, overdue],
  },
  {
    name: "a stream of tiny tokens without end",
    by: "bare",
    action: "stream",
    attack: async function* () {
      for (;;) yield 0;
    },
    expected: ["fails LIMIT_OUTPUT", "fails LIMIT_MESSAGES", memory, overdue],
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

/**
 * What watching costs over real sockets: the system's buffers are part of what a reader may leave lying.
 *
 * @module
 */
import assert from "node:assert/strict";
import { OpenAPIHono } from "@hono/zod-openapi";
import type { Event, EventCursor } from "../bus/event_cursor.ts";
import type { ApiEnv } from "./context.ts";
import { EventReaders } from "./event_readers.ts";
import { registerJobEvents } from "./job_events.ts";
import { readEvents } from "./testing_event_source.ts";
import { bearer, createTestingKernel } from "./testing_kernel.ts";

/** What Linux buffers of one connection at most, its own end and the client's, and some. */
const socketBytesMax = 32 * 1_048_576;
const pageEvents = 16;
const event: Event = { id: "1", type: "JOB_TOKEN", json: JSON.stringify("x".repeat(1_000)) };

const ids = { endless: "0".repeat(26), short: "1".repeat(26), quiet: "2".repeat(26) };

function serve({ readerTimeoutMs = 60_000 } = {}) {
  const disposed = Promise.withResolvers<void>();
  const seen = { reads: 0 };
  const never = (signal: AbortSignal) =>
    new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
  const endless: EventCursor = {
    read: () => {
      seen.reads += 1;
      return Array.from({ length: pageEvents }, () => event);
    },
    isEnded: false,
    changed: () => Promise.resolve(),
    [Symbol.dispose]: disposed.resolve,
  };
  const quiet = { ...endless, read: () => [], changed: never };
  const short = (): EventCursor => {
    let left = 1_000;
    return {
      read: () => Array.from({ length: Math.min(left, 10) }, () => ({ ...event, id: String(left--) })),
      get isEnded() {
        return left === 0;
      },
      changed: () => Promise.resolve(),
      [Symbol.dispose]: () => {},
    };
  };
  const kernel = createTestingKernel({
    config: { streams: { readerTimeoutMs } },
    jobs: { watch: (id) => id === ids.endless ? endless : id === ids.quiet ? quiet : short() },
  });
  const readers = new EventReaders(kernel.config.streams);
  const app = new OpenAPIHono<ApiEnv>();
  registerJobEvents(app, kernel, readers);
  const server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen: () => undefined },
    (request) => app.fetch(request),
  );
  const { port } = server.addr;
  return { server, readers, seen, disposed: disposed.promise, port };
}

/** Asks for the events of a job, and reads nothing. */
async function ask(port: number, id: string): Promise<Deno.TcpConn> {
  const connection = await Deno.connect({ hostname: "127.0.0.1", port });
  const request = `GET /v1/jobs/${id}/events HTTP/1.1\r\nhost: x\r\nauthorization: ${
    bearer("admin").authorization
  }\r\n\r\n`;
  await connection.write(new TextEncoder().encode(request));
  return connection;
}

const fetchEvents = async (port: number, id: string) =>
  await readEvents(
    await fetch(`http://127.0.0.1:${port}/v1/jobs/${id}/events`, { headers: bearer("admin") }),
  );

Deno.test("registerJobEvents() bounds what waits for a client who never reads, cuts it off, and serves the others", async () => {
  const { server, readers, seen, disposed, port } = serve({ readerTimeoutMs: 500 });
  using stuck = await ask(port, ids.endless);
  const others = await Promise.all(Array.from({ length: 20 }, () => fetchEvents(port, ids.short)));
  for (const { events } of others) {
    assert.deepEqual(
      events.map(({ id }) => Number(id)),
      Array.from({ length: 1_000 }, (_, at) => 1_000 - at),
    );
  }
  await disposed;
  const taken = seen.reads * pageEvents * event.json.length;
  assert.ok(taken < socketBytesMax, String(taken));
  assert.equal(readers.count, 0);
  // Back at last, it gets what was sent, and learns why there is no more.
  const buffer = new Uint8Array(1_048_576);
  let end = "";
  while (!end.endsWith("\r\n0\r\n\r\n")) {
    const length = await stuck.read(buffer);
    assert.ok(length !== null, end);
    end = (end + new TextDecoder().decode(buffer.subarray(0, length))).slice(-100);
  }
  assert.match(end, /\n\n\r\n13\r\n: reader too slow\n\n\r\n0\r\n\r\n$/);
  assert.equal(seen.reads * pageEvents * event.json.length, taken);
  await server.shutdown();
});

Deno.test("EventReaders.closeAll() lets a server end while clients watch", async () => {
  const { server, readers, port } = serve();
  const watching = await Promise.all(Array.from({ length: 5 }, () => ask(port, ids.quiet)));
  // Each has its head: the request is under way.
  for (const connection of watching) await connection.read(new Uint8Array(65_536));
  assert.equal(readers.count, 5);
  readers.closeAll();
  await server.shutdown();
  assert.equal(readers.count, 0);
  for (const connection of watching) connection.close();
});

Deno.test("registerJobEvents() gives the place of a client back when it hangs up", async () => {
  const { server, readers, disposed, port } = serve();
  const connection = await ask(port, ids.quiet);
  await connection.read(new Uint8Array(65_536));
  assert.equal(readers.count, 1);
  connection.close();
  await disposed;
  assert.equal(readers.count, 0);
  await server.shutdown();
});

/**
 * A WebSocket client over a real socket, and a server for it, for the tests of the typed protocol.
 *
 * Only `*_test.ts` files import this.
 *
 * @module
 */
import assert from "node:assert/strict";
import { OpenAPIHono } from "@hono/zod-openapi";
import type { Clock } from "../../../sandbox/clock.ts";
import type { Role } from "../../../schemas/api.ts";
import {
  type ServerMessage,
  serverMessageSchema,
  type ServerMessageType,
} from "../../../schemas/ws_protocol.ts";
import type { ApiEnv } from "../context.ts";
import { EventReaders } from "../event_readers.ts";
import { observeRequest } from "../observe_request.ts";
import { answerProblem } from "../problems.ts";
import { setSecurityHeaders } from "../security_headers.ts";
import { createTestingKernel, type TestingKernel, type TestingKernelOptions } from "../testing_kernel.ts";
import { registerWs, WsConnections } from "../ws.ts";

export class TestingClient implements AsyncDisposable {
  readonly closed: Promise<{ code: number; reason: string }>;
  readonly opened: Promise<void>;
  /** Texts that came and were not asked for yet. */
  readonly texts: string[] = [];
  readonly socket: WebSocket;
  #arrived = Promise.withResolvers<void>();

  constructor(port: number, options: { role?: Role; protocols?: string[]; headers?: HeadersInit } = {}) {
    const { role = "invoker", protocols = ["airlock.v1", `bearer.secret-${role}`], headers = {} } = options;
    this.socket = new WebSocket(`ws://127.0.0.1:${port}/v1/ws`, { protocols, headers });
    const opened = Promise.withResolvers<void>();
    const closed = Promise.withResolvers<{ code: number; reason: string }>();
    this.opened = opened.promise;
    this.closed = closed.promise;
    this.opened.catch(() => undefined);
    this.socket.onopen = () => opened.resolve();
    this.socket.onmessage = ({ data }) => {
      this.texts.push(data);
      this.#arrived.resolve();
    };
    this.socket.onclose = ({ code, reason }) => {
      opened.reject(new Error(`closed with ${code}`));
      closed.resolve({ code, reason });
      this.#arrived.reject(new Error(`closed with ${code}`));
      this.#arrived.promise.catch(() => undefined);
    };
  }

  /** A text is sent as it is. */
  send(message: string | { type: string; id: string; payload?: unknown }): void {
    this.socket.send(typeof message === "string" ? message : JSON.stringify(message));
  }

  async nextText(): Promise<string> {
    while (this.texts.length === 0) {
      await this.#arrived.promise;
      if (this.texts.length === 0) this.#arrived = Promise.withResolvers<void>();
    }
    return this.texts.shift()!;
  }

  /** Parsed by the schema, as a client does it. */
  async next(): Promise<ServerMessage> {
    return serverMessageSchema.parse(JSON.parse(await this.nextText()));
  }

  /** The next message, which must be of `type`. */
  async expect<T extends ServerMessageType>(type: T): Promise<Extract<ServerMessage, { type: T }>> {
    const message = await this.next();
    assert.equal(message.type, type, JSON.stringify(message));
    return message as Extract<ServerMessage, { type: T }>;
  }

  /** The next message, which must be an ERROR with `code`. */
  async expectError(code: string, id: string | null): Promise<Extract<ServerMessage, { type: "ERROR" }>> {
    const error = await this.expect("ERROR");
    assert.deepEqual([error.payload.code, error.id], [code, id], JSON.stringify(error));
    return error;
  }

  async init(payload: Record<string, unknown> = { feed: false }): Promise<void> {
    await this.opened;
    this.send({ type: "INIT", id: "init", payload: { version: "1.0", ...payload } });
    await this.expect("READY");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.socket.close();
    await this.closed;
  }
}

export interface TestingServer extends AsyncDisposable {
  readonly port: number;
  readonly kernel: TestingKernel;
  readonly readers: EventReaders;
  readonly connections: WsConnections;
  /** A client that was answered READY. */
  ready(role?: Role, payload?: Record<string, unknown>): Promise<TestingClient>;
}

export function serveWs(
  { clock, kernel = createTestingKernel(), ...options }:
    & TestingKernelOptions
    & { clock?: Clock; kernel?: TestingKernel } = {},
): TestingServer {
  const served = Object.keys(options).length > 0 ? createTestingKernel(options) : kernel;
  const app = new OpenAPIHono<ApiEnv>();
  app.onError((error, c) => answerProblem(served, error, c));
  app.use(observeRequest(served));
  app.use(setSecurityHeaders);
  const readers = new EventReaders(served.config.streams);
  const connections = new WsConnections(served.config.http);
  registerWs(app, served, { readers, connections, clock });
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => undefined },
    (request) => app.fetch(request),
  );
  const { port } = server.addr;
  return {
    ...{ port, kernel: served, readers, connections },
    async ready(role = "invoker", payload = { feed: false }) {
      const client = new TestingClient(port, { role });
      await client.init(payload);
      return client;
    },
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

export interface RawAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly code: string | undefined;
}

/** Asks for an upgrade with exactly these headers, over a socket of its own. */
export async function askUpgrade(port: number, headers: [string, string][]): Promise<RawAnswer> {
  using connection = await Deno.connect({ hostname: "127.0.0.1", port });
  const lines = headers.map(([name, value]) => `${name}: ${value}\r\n`).join("");
  await connection.write(new TextEncoder().encode(`GET /v1/ws HTTP/1.1\r\n${lines}\r\n`));
  let text = "";
  const bytes = new Uint8Array(4_096);
  for (;;) {
    const count = await connection.read(bytes);
    if (count === null) break;
    text += new TextDecoder().decode(bytes.subarray(0, count));
    if (text.includes("\r\n\r\n") && (text.startsWith("HTTP/1.1 101") || text.endsWith("}"))) break;
  }
  const [head = "", body = ""] = text.split("\r\n\r\n");
  const [statusLine = "", ...rest] = head.split("\r\n");
  const pairs = rest.map((line): [string, string] => [line.split(":")[0]!, line.replace(/^[^:]*:\s*/, "")]);
  const code = body === "" ? undefined : JSON.parse(body).code;
  return { status: Number(statusLine.split(" ")[1]), headers: new Headers(pairs), code };
}

export const upgradeHeaders: [string, string][] = [
  ["Upgrade", "websocket"],
  ["Connection", "Upgrade"],
  ["Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="],
  ["Sec-WebSocket-Version", "13"],
];

/** A client that sends the bytes it is told to and reads only when it is told to. */
export class RawClient implements Disposable {
  private constructor(readonly connection: Deno.TcpConn) {}

  /** `awaited`: read the answer of the upgrade. */
  static async open(port: number, { awaited = true } = {}): Promise<RawClient> {
    const client = new RawClient(await Deno.connect({ hostname: "127.0.0.1", port }));
    const headers = [...upgradeHeaders, ["Host", "localhost"], ["Authorization", "Bearer secret-invoker"]];
    const lines = headers.map(([name, value]) => `${name}: ${value}\r\n`).join("");
    await client.write(new TextEncoder().encode(`GET /v1/ws HTTP/1.1\r\n${lines}\r\n`));
    if (awaited) await client.connection.read(new Uint8Array(4_096));
    return client;
  }

  /** One frame, masked with zeros. `first`: FIN bit and opcode; `length`: what it says its length is. */
  async frame(first: number, payload: Uint8Array, length = payload.length): Promise<void> {
    const head = new Uint8Array(14);
    head.set([first, 0x80 | 127]);
    new DataView(head.buffer).setBigUint64(2, BigInt(length));
    await this.write(head);
    await this.write(payload);
  }

  async send(message: { type: string; id: string; payload?: unknown }): Promise<void> {
    await this.frame(0x81, new TextEncoder().encode(JSON.stringify(message)));
  }

  async write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) at += await this.connection.write(bytes.subarray(at));
  }

  /** Reads until the server ends the connection. */
  async ended(): Promise<void> {
    const bytes = new Uint8Array(65_536);
    try {
      while (await this.connection.read(bytes) !== null);
    } catch {
      // A reset is an end too.
    }
  }

  [Symbol.dispose](): void {
    this.connection.close();
  }
}

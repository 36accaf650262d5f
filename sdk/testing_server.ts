/**
 * A small server that speaks the protocol over real sockets, and a proxy that cuts them. Only `*_test.ts` files
 * import this.
 *
 * @module
 */
import { type ClientMessage, clientMessageSchema } from "../schemas/ws_protocol.ts";
import { testingInvoked, testingJob, testingJobId, testingReady } from "./testing_socket.ts";

export const testingToken = "airlock_secret";

/** Holds one job, {@linkcode testingJobId}: a row of `tokens` tokens `0, 1, …`, numbered from `seq` 3 on. */
export class TestingServer implements AsyncDisposable {
  readonly #server: Deno.HttpServer<Deno.NetAddr>;
  readonly received: ClientMessage[] = [];
  connections = 0;

  constructor(readonly tokens: number) {
    this.#server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
      const offered = (request.headers.get("sec-websocket-protocol") ?? "").split(", ");
      const bearer = request.headers.get("authorization") ?? `Bearer ${offered[1]?.slice("bearer.".length)}`;
      if (bearer !== `Bearer ${testingToken}`) return new Response("{}", { status: 401 });
      if (request.headers.get("upgrade") !== "websocket") return new Response("{}", { status: 426 });
      const { socket, response } = Deno.upgradeWebSocket(request, { protocol: "airlock.v1" });
      this.connections++;
      socket.onmessage = ({ data }) => this.#answer(socket, clientMessageSchema.parse(JSON.parse(data)));
      socket.onerror = () => {};
      return response;
    });
  }

  get port(): number {
    return this.#server.addr.port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }

  #answer(socket: WebSocket, message: ClientMessage): void {
    this.received.push(message);
    const { id } = message;
    const send = (type: string, payload: unknown) => {
      if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ type, id, payload }));
    };
    switch (message.type) {
      case "INIT":
        return send("READY", testingReady);
      case "INVOKE":
        if (message.payload.stream) { for (let token = 0; token < 3; token++) send("TOKEN", { token }); }
        return send(message.payload.stream ? "COMPLETE" : "RESULT", { kind: "invoked", ...testingInvoked });
      case "ENQUEUE":
        return send("RESULT", { kind: "job", job: testingJob("pending"), checkpoint: "bm90ZQ==" });
      case "SUBSCRIBE":
        send("RESULT", { kind: "done" });
        for (let seq = message.payload.after + 1; seq <= this.tokens + 3; seq++) {
          send("EVENT", this.#event(seq));
        }
        return send("COMPLETE", { kind: "subscribed", seq: this.tokens + 3 });
      case "CANCEL":
        return send("RESULT", { kind: "done" });
      case "PING":
        return send("PONG", { uptimeMs: 1 });
    }
  }

  #event(seq: number) {
    if (seq === 1) return { event: "JOB_QUEUED", seq, data: testingJob("pending", 0) };
    if (seq === 2) return { event: "JOB_STARTED", seq, data: testingJob("running") };
    if (seq <= this.tokens + 2) return { event: "JOB_TOKEN", seq, data: seq - 3 };
    return { event: "JOB_COMPLETED", seq, data: testingJob("completed") };
  }
}

/** Passes bytes on to a port, and cuts connection after connection when the server has sent so many of them. */
export class CuttingProxy implements AsyncDisposable {
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #running: Promise<void>;
  readonly #pipes = new Set<Promise<void>>();
  readonly #ends = new Set<Deno.Conn>();
  cuts = 0;

  /** `bytes(n)`: after how many bytes connection `n` (from 0) is cut; Infinity: never. */
  constructor(readonly port: number, readonly bytes: (connection: number) => number) {
    this.#running = this.#accept();
  }

  get url(): string {
    return `ws://127.0.0.1:${this.#listener.addr.port}/v1/ws`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    await this.#running;
    for (const end of this.#ends) close(end);
    await Promise.all(this.#pipes);
  }

  async #accept(): Promise<void> {
    let number = 0;
    for await (const near of this.#listener) {
      const far = await Deno.connect({ hostname: "127.0.0.1", port: this.port });
      const pipe = this.#pipe(near, far, this.bytes(number++));
      this.#pipes.add(pipe);
      pipe.then(() => this.#pipes.delete(pipe));
    }
  }

  async #pipe(near: Deno.Conn, far: Deno.Conn, bytesMax: number): Promise<void> {
    for (const end of [near, far]) this.#ends.add(end);
    // Either end may be gone at any moment: that is what this is for.
    const up = near.readable.pipeTo(far.writable).catch(() => {});
    let left = bytesMax;
    const cut = new TransformStream<Uint8Array, Uint8Array>({
      transform: (chunk, controller) => {
        controller.enqueue(chunk.subarray(0, left));
        left -= chunk.length;
        if (left > 0) return;
        this.cuts++;
        throw new Error("cut");
      },
    });
    await far.readable.pipeThrough(cut).pipeTo(near.writable).catch(() => {});
    for (const end of [near, far]) close(end);
    await up;
    for (const end of [near, far]) this.#ends.delete(end);
  }
}

function close(end: Deno.Conn): void {
  try {
    end.close();
  } catch {
    // Its stream closed it.
  }
}

export { testingJobId };

/**
 * The callers of the hostile plugins of `bench/neighbours.ts`, in a process of their own: what they do must not hold
 * up the client that is measured. They stand for callers on other machines, so they run behind everything else here.
 *
 *     POST /start  { url, token, hostile }   each plugin is called again whenever a call of it ends
 *     POST /stop                             → how the calls ended: plugin → code → count
 *
 * What Airlock refuses is asked for again after a pause. Connections of the plugin `sockets` come to the same port,
 * and are closed by it.
 *
 * @module
 */
import { setPriority } from "node:os";
import type { HostilePlugin } from "./neighbours_plugins.ts";

/** By plugin and code; a call that succeeded is `OK`, a stream that broke off `CUT`. */
export type Tally = Record<string, Record<string, number>>;

export interface AttackOrder {
  readonly url: string;
  readonly token: string;
  readonly hostile: readonly HostilePlugin[];
}

const refusedPauseMs = 200;
const refusals = new Set(["PLUGIN_QUARANTINED", "BREAKER_OPEN", "QUEUE_FULL", "PLUGIN_STOPPED", "NOT_READY"]);
const slowReadsPerSecond = 10;
const nicest = 19;

class Attack {
  readonly tally: Tally = {};
  readonly #stopped = new AbortController();

  constructor(private readonly order: AttackOrder) {
    for (const plugin of order.hostile) {
      for (let client = 0; client < plugin.clients; client++) void this.#keepCalling(plugin, client);
    }
  }

  stop(): void {
    this.#stopped.abort();
  }

  async #keepCalling(plugin: HostilePlugin, client: number): Promise<void> {
    const { signal } = this.#stopped;
    for (let turn = client; !signal.aborted; turn++) {
      const input = plugin.inputs[turn % plugin.inputs.length];
      const { readBytesPerSecond } = plugin;
      const code = await (readBytesPerSecond === undefined
        ? this.#call(plugin, input)
        : this.#readSlowly(plugin.id, input, readBytesPerSecond)).catch(() =>
          "CUT"
        );
      if (signal.aborted) return;
      const codes = this.tally[plugin.id] ??= {};
      codes[code] = (codes[code] ?? 0) + 1;
      if (refusals.has(code) || code === "CUT") await pause(refusedPauseMs);
    }
  }

  async #call({ id, isStream = false }: HostilePlugin, input: unknown): Promise<string> {
    const response = await fetch(`${this.order.url}/v1/plugins/${id}/actions/run`, {
      method: "POST",
      headers: {
        ...{ authorization: `Bearer ${this.order.token}`, "content-type": "application/json" },
        accept: isStream ? "text/event-stream" : "application/json",
      },
      signal: this.#stopped.signal,
      body: JSON.stringify(input),
    });
    if (!response.ok) return (await response.json()).code;
    // Taken as fast as it comes, and not kept: of a stream that ends with an error, the last piece says which.
    let last = "";
    const decoder = new TextDecoder();
    for await (const piece of response.body ?? []) if (isStream) last = decoder.decode(piece.slice(-512));
    return /"code":"([A-Z_]+)"/.exec(last)?.[1] ?? "OK";
  }

  /** By a socket of its own: `fetch` reads ahead. */
  async #readSlowly(id: string, input: unknown, bytesPerSecond: number): Promise<string> {
    const { hostname, port, host } = new URL(this.order.url);
    using connection = await Deno.connect({ hostname, port: Number(port) });
    const body = JSON.stringify(input);
    const head = [
      `POST /v1/plugins/${id}/actions/run HTTP/1.1`,
      ...[`host: ${host}`, `authorization: Bearer ${this.order.token}`, "accept: text/event-stream"],
      ...["content-type: application/json", `content-length: ${body.length}`, "connection: close"],
    ];
    await connection.write(new TextEncoder().encode(`${head.join("\r\n")}\r\n\r\n${body}`));
    const chunk = new Uint8Array(bytesPerSecond / slowReadsPerSecond);
    let code = "CUT";
    for (;;) {
      const read = await connection.read(chunk);
      if (read === null || this.#stopped.signal.aborted) return code;
      code = /"code":"([A-Z_]+)"/.exec(new TextDecoder().decode(chunk.subarray(0, read)))?.[1] ?? code;
      await pause(1_000 / slowReadsPerSecond);
    }
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function serveAttacks(): void {
  setPriority(nicest);
  let attack: Attack | undefined;
  Deno.serve({
    hostname: "127.0.0.1",
    port: 0,
    onListen: ({ port }) => console.log(`http://127.0.0.1:${port}/`),
  }, async (request) => {
    attack?.stop();
    const tally = attack?.tally ?? {};
    const order = request.url.endsWith("/start") ? await request.json() as AttackOrder : undefined;
    attack = order && new Attack(order);
    return Response.json(tally);
  });
}

if (import.meta.main) serveAttacks();

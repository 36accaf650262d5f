/**
 * The kernel's end of a cell, whose far end is the test. Only `*_test.ts` files import this.
 *
 * @module
 */
import { deepEqual } from "node:assert/strict";
import { type ToCell, toCellSchema } from "../schemas/cell_protocol.ts";
import { encodeFrame, type Frame, FrameReader } from "./frame.ts";
import { type CellCall, LiveCell, type LiveCellOptions, type ProcessEnd } from "./live_cell.ts";

export const bytesOf = (text: string) => new TextEncoder().encode(text);

/** How a process ended of which the warden has nothing more to say. */
export function endOf(end: Pick<ProcessEnd, "exitCode" | "signal" | "killed">): ProcessEnd {
  return { ...end, detail: "", calls: [] };
}

/** The end of a process that the kernel asked to be killed. */
export const killedEnd: ProcessEnd = endOf({ exitCode: 137, signal: "SIGKILL", killed: "asked" });

export interface Peer extends AsyncDisposable {
  readonly cell: LiveCell;
  readonly logs: string[];
  /** Of the warden, but for kills. */
  readonly asked: string[];
  /** How often the process was asked to be killed; the first time resolves `killed`. */
  readonly kills: { count: number };
  readonly killed: Promise<void>;
  send(envelope: unknown, body?: Uint8Array): Promise<void>;
  sendBytes(bytes: Uint8Array): Promise<void>;
  /** The next message of the kernel. */
  next(): Promise<ToCell>;
  call(more?: Partial<CellCall>): Promise<Uint8Array>;
}

/** A cell that is ready. */
export async function connectPeer(options: Partial<LiveCellOptions> = {}): Promise<Peer> {
  const folder = await Deno.makeTempDir({ prefix: "cell-" });
  const listener = Deno.listen({ transport: "unix", path: `${folder}/s` });
  const far = await Deno.connect({ transport: "unix", path: `${folder}/s` });
  const killed = Promise.withResolvers<void>();
  const kills = { count: 0 };
  const logs: string[] = [];
  const asked: string[] = [];
  const cell = new LiveCell({
    ...{ cell: "1", plugin: "echo", frameBytesMax: 65_536, outputBytesMax: 16_384, queueBytesMax: 65_536 },
    ...{ streamWindowChars: 2_048, abortGraceMs: 10, messagesPerSecond: 100_000, onCall() {} },
    suspend: () => asked.push("suspend"),
    resume: () => asked.push("resume"),
    ...options,
    kill() {
      kills.count++;
      killed.resolve();
    },
    onLog(level, message, sink) {
      logs.push(`${level} ${message}`);
      sink?.log?.(level, message);
    },
  });
  cell.connect(await listener.accept(), bytesOf("{}"));
  listener.close();
  await Deno.remove(folder, { recursive: true });
  const sendBytes = async (bytes: Uint8Array) => {
    for (let at = 0; at < bytes.length;) at += await far.write(bytes.subarray(at));
  };
  const send = (envelope: unknown, body?: Uint8Array) => sendBytes(encodeFrame(envelope, body));
  const next = createReceive(far);
  deepEqual(await next(), { type: "setup" });
  await send({ type: "ready" });
  await cell.ready;
  return {
    ...{ cell, logs, asked, kills, killed: killed.promise, send, sendBytes, next },
    call: (more = {}) => {
      const { signal } = new AbortController();
      const input = bytesOf("{}");
      return cell.call({ action: "run", request: "r", input, wallMs: 60_000, signal, ...more });
    },
    async [Symbol.asyncDispose]() {
      far.close();
      cell.over(killedEnd);
      await cell.ended;
    },
  };
}

function createReceive(far: Deno.Conn): () => Promise<ToCell> {
  const frames: Frame[] = [];
  const reader = new FrameReader(65_536);
  const chunk = new Uint8Array(65_536);
  return async () => {
    while (frames.length === 0) {
      const read = await far.read(chunk);
      if (read === null) throw new Error("the kernel closed the connection");
      frames.push(...reader.push(chunk.subarray(0, read)));
    }
    return toCellSchema.parse(frames.shift()?.envelope);
  };
}

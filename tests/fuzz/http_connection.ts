/**
 * An HTTP/1.1 connection that sends any bytes as a request, where `fetch` would tidy them up: paths, headers and
 * bodies arrive as they were written. Only as much of HTTP is read as Airlock speaks.
 *
 * @module
 */

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Uint8Array;
  /** The body goes on, and was not read to its end. */
  readonly isCut: boolean;
}

const answerTimeoutMs = 20_000;
/** Of a stream of events, what comes in this time is read. */
const eventsMs = 15;
const bodyBytesMax = 1_048_576;
const latin1 = new TextDecoder("latin1");

/** It ended where an answer was due. */
export class NoAnswerError extends Error {
  override name = "NoAnswerError";
}

export class HttpConnection implements Disposable {
  #socket: Deno.TcpConn | undefined;
  #pending = new Uint8Array();

  constructor(private readonly port: number) {}

  [Symbol.dispose](): void {
    this.#close();
  }

  /** Sends a part of a request and is gone. */
  async abandon(part: Uint8Array): Promise<void> {
    const socket = await this.#open();
    await writeAll(socket, part);
    this.#close();
  }

  /** Throws {@linkcode NoAnswerError}. */
  async request(bytes: Uint8Array, { isHead }: { isHead: boolean }): Promise<Answer> {
    const wasFresh = this.#socket === undefined;
    const timer = setTimeout(() => this.#close(), answerTimeoutMs);
    try {
      const socket = await this.#open();
      // It may be answered before all of it is sent, and closed.
      const sent = writeAll(socket, bytes).catch(() => undefined);
      const answer = await this.#read(isHead);
      await sent;
      return answer;
    } catch (error) {
      this.#close();
      if (!(error instanceof NoAnswerError) || wasFresh) throw error;
      // A connection that is kept alive may be closed at any time.
      return await this.request(bytes, { isHead });
    } finally {
      clearTimeout(timer);
    }
  }

  async #open(): Promise<Deno.TcpConn> {
    this.#socket ??= await Deno.connect({ hostname: "127.0.0.1", port: this.port });
    return this.#socket;
  }

  #close(): void {
    try {
      this.#socket?.close();
    } catch {
      // The other end was quicker.
    }
    this.#socket = undefined;
    this.#pending = new Uint8Array();
  }

  async #read(isHead: boolean): Promise<Answer> {
    const head = await this.#readHead();
    const [statusLine = "", ...lines] = head.split("\r\n");
    const status = Number(/^HTTP\/1\.[01] ([0-9]{3})/.exec(statusLine)?.[1] ?? NaN);
    const headers = new Headers();
    for (const line of lines) {
      const colon = line.indexOf(":");
      headers.append(line.slice(0, colon), line.slice(colon + 1).trim());
    }
    if (status < 200 && status !== 101) return await this.#read(isHead);
    const { body, isCut } = await this.#readBody(status, headers, isHead);
    if (isCut || status === 101 || /close/i.test(headers.get("connection") ?? "")) this.#close();
    return { status, headers, body, isCut };
  }

  async #readHead(): Promise<string> {
    for (;;) {
      const text = latin1.decode(this.#pending);
      const end = text.indexOf("\r\n\r\n");
      if (end >= 0) {
        this.#pending = this.#pending.slice(end + 4);
        return text.slice(0, end);
      }
      if (!await this.#fill()) throw new NoAnswerError("the connection ended without an answer");
    }
  }

  async #readBody(
    status: number,
    headers: Headers,
    isHead: boolean,
  ): Promise<{ body: Uint8Array; isCut: boolean }> {
    if (isHead || status === 204 || status === 304 || status === 101) {
      return { body: new Uint8Array(), isCut: false };
    }
    const length = headers.get("content-length");
    if (length !== null) return { body: await this.#take(Number(length)), isCut: false };
    if (headers.get("transfer-encoding") !== "chunked") return { body: new Uint8Array(), isCut: true };
    const isEvents = headers.get("content-type")?.startsWith("text/event-stream") ?? false;
    return await this.#readChunks(isEvents);
  }

  async #readChunks(isEvents: boolean): Promise<{ body: Uint8Array; isCut: boolean }> {
    const chunks: Uint8Array[] = [];
    let read = 0;
    let isOver = false;
    const timer = isEvents
      ? setTimeout(() => {
        isOver = true;
        this.#close();
      }, eventsMs)
      : undefined;
    try {
      for (;;) {
        const size = Number.parseInt(await this.#takeLine(), 16);
        if (size === 0) {
          await this.#takeLine();
          return { body: await joined(chunks), isCut: false };
        }
        chunks.push(await this.#take(size));
        await this.#takeLine();
        read += size;
        if (read > bodyBytesMax) return { body: await joined(chunks), isCut: true };
      }
    } catch (error) {
      if (!isOver) throw error;
      return { body: await joined(chunks), isCut: true };
    } finally {
      clearTimeout(timer);
    }
  }

  async #takeLine(): Promise<string> {
    for (;;) {
      const end = this.#pending.indexOf(0x0a);
      if (end >= 0) return latin1.decode(await this.#take(end + 1)).trim();
      if (!await this.#fill()) throw new NoAnswerError("the connection ended in the middle of an answer");
    }
  }

  async #take(length: number): Promise<Uint8Array> {
    while (this.#pending.length < length) {
      if (!await this.#fill()) throw new NoAnswerError("the connection ended in the middle of an answer");
    }
    const taken = this.#pending.slice(0, length);
    this.#pending = this.#pending.slice(length);
    return taken;
  }

  async #fill(): Promise<boolean> {
    const buffer = new Uint8Array(65_536);
    try {
      const socket = this.#socket;
      const count = await socket?.read(buffer) ?? null;
      // Closed by us meanwhile, it has no place to go on at.
      if (count === null || socket !== this.#socket) return false;
      const grown = new Uint8Array(this.#pending.length + count);
      grown.set(this.#pending);
      grown.set(buffer.subarray(0, count), this.#pending.length);
      this.#pending = grown;
      return true;
    } catch {
      // Reset by the other end, or closed by ours when the time was over.
      return false;
    }
  }
}

async function joined(chunks: readonly Uint8Array[]): Promise<Uint8Array> {
  return new Uint8Array(await new Blob(chunks.map((chunk) => chunk.slice())).arrayBuffer());
}

async function writeAll(socket: Deno.TcpConn, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await socket.write(bytes.subarray(at));
}

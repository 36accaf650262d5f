/**
 * The socket on which the kernel waits for its cells.
 *
 * A connection is nobody until its first frame shows a token that is expected; a token works once. A
 * connection that says nothing, too much or something else is dropped, and few may wait at a time: what
 * can reach the socket can at most be turned away. When too many wait the eldest goes, because a cell speaks
 * at once: a program that a plugin was granted can reach the socket, and must not keep other cells out.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { cellProtocolVersion, fromCellSchema, type ToCell } from "../schemas/cell_protocol.ts";
import { Allowance } from "./allowance.ts";
import { encodeFrame, FrameReader } from "./frame.ts";

export interface CellListenerOptions {
  readonly socket: string;
  readonly helloTimeoutMs: number;
  readonly helloPendingMax: number;
  log(message: string): void;
}

/** The first frame is small: a token and a version. */
const helloBytesMax = 4_096;
const acceptPauseMs = 50;
const crowdPauseMs = 5;
const dropsPerSecond = 500;
/** Of log. */
const linesPerSecond = 5;

interface Expected {
  readonly arrived: PromiseWithResolvers<Deno.Conn>;
}

export class CellListener implements AsyncDisposable {
  readonly #expected = new Map<string, Expected>();
  readonly #waiting = new Set<Deno.Conn>();
  readonly #listener: Deno.Listener;
  readonly #accepting: Promise<void>;
  readonly #closed = Promise.withResolvers<void>();
  #isClosed = false;
  /** Strangers come faster than they are worth: they are taken slowly, and so is everybody. */
  #isCrowded = false;
  readonly #dropsAllowed = new Allowance(dropsPerSecond);
  readonly #linesAllowed = new Allowance(linesPerSecond);

  constructor(private readonly options: CellListenerOptions) {
    this.#listener = Deno.listen({ transport: "unix", path: options.socket });
    this.#accepting = this.#accept();
  }

  /** The connection that shows `token`. `forget` it when its cell can no longer come. */
  expect(token: string): { connection: Promise<Deno.Conn>; forget(): void } {
    const key = digest(token);
    const arrived = Promise.withResolvers<Deno.Conn>();
    this.#expected.set(key, { arrived });
    return { connection: arrived.promise, forget: () => this.#expected.delete(key) };
  }

  async #accept(): Promise<void> {
    for (;;) {
      const connection = await this.#next();
      if (connection === undefined) return;
      const [eldest] = this.#waiting;
      if (eldest !== undefined && this.#waiting.size >= this.options.helloPendingMax) {
        this.#drop(eldest, "too many others came after it");
      }
      this.#waiting.add(connection);
      void this.#greet(connection);
      if (this.#isCrowded) await this.#pause(crowdPauseMs);
    }
  }

  /** The next connection, however long it takes; undefined when the socket is closed. */
  async #next(): Promise<Deno.Conn | undefined> {
    for (let failures = 0; !this.#isClosed; failures++) {
      try {
        return await this.#listener.accept();
      } catch (error) {
        if (this.#isClosed) return undefined;
        // Most likely too many files are open: cells that end give theirs back, so it is worth the wait.
        if (failures === 0) this.options.log(`Cannot accept a connection on the cells' socket: ${error}`);
        await this.#pause(acceptPauseMs);
      }
    }
    return undefined;
  }

  async #pause(ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, ms);
    await Promise.race([promise, this.#closed.promise]);
    clearTimeout(timer);
  }

  async #greet(connection: Deno.Conn): Promise<void> {
    const timer = setTimeout(
      () => this.#drop(connection, "it did not say who it is"),
      this.options.helloTimeoutMs,
    );
    try {
      const hello = await readHello(connection);
      if (hello.protocol.major !== cellProtocolVersion.major) {
        const message = `Cannot talk to this cell: it speaks protocol ${hello.protocol.major}, the kernel ` +
          `${cellProtocolVersion.major}. Upgrade the older of the two: both come with Airlock`;
        const refused: ToCell = { type: "refused", message };
        await connection.write(encodeFrame(refused));
        return this.#drop(connection, message);
      }
      const key = digest(hello.token);
      const expected = this.#expected.get(key);
      if (expected === undefined) return this.#drop(connection, "its token is not expected");
      this.#expected.delete(key);
      this.#waiting.delete(connection);
      expected.arrived.resolve(connection);
    } catch (error) {
      this.#drop(connection, error instanceof Error ? error.message : String(error));
    } finally {
      clearTimeout(timer);
    }
  }

  #drop(connection: Deno.Conn, reason: string): void {
    if (!this.#waiting.delete(connection)) return;
    connection.close();
    this.#isCrowded = !this.#dropsAllowed.admits(performance.now());
    if (!this.#linesAllowed.admits(performance.now())) return;
    const unsaid = this.#linesAllowed.takeRefused();
    const others = unsaid === 0 ? "" : `, and ${unsaid} others before it`;
    this.options.log(`Dropped a connection on the cells' socket${others}: ${reason.slice(0, 256)}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    this.#closed.resolve();
    this.#listener.close();
    for (const connection of this.#waiting) connection.close();
    this.#waiting.clear();
    await this.#accepting;
  }
}

async function readHello(connection: Deno.Conn) {
  const frames = new FrameReader(helloBytesMax);
  const chunk = new Uint8Array(helloBytesMax + 4);
  for (;;) {
    const read = await connection.read(chunk);
    if (read === null) throw new Error("it closed before it said who it is");
    const [frame, ...more] = frames.push(chunk.subarray(0, read));
    if (frame === undefined) continue;
    const message = fromCellSchema.parse(frame.envelope);
    // Nothing may follow before the kernel has answered.
    if (message.type !== "hello" || more.length > 0 || frames.heldBytes > 0) {
      throw new Error("its first frame is not a greeting");
    }
    return message;
  }
}

/** Tokens are looked up by digest, so that the time of a look-up says nothing about a token. */
function digest(token: string): string {
  return createHash("sha256").update(token).digest("hex");
}

/**
 * The kernel's end of one cell: its calls, their deadlines, and its end.
 *
 * Whatever arrives is the plugin's word: envelopes are parsed, bytes become an output only when they are
 * exactly one JSON value, and a cell that breaks the protocol is killed. Every call ends: with its answer,
 * at its deadline, or with the cell.
 *
 * @module
 */
import { type FromCell, fromCellSchema, type ToCell, tokenOverheadChars } from "../schemas/cell_protocol.ts";
import { isJson } from "../schemas/is_json.ts";
import { ProblemError } from "../schemas/problem.ts";
import { Deadlines } from "./deadlines.ts";
import { type Frame, FrameError, FrameReader } from "./frame.ts";
import { FrameWriter } from "./frame_writer.ts";

/** Receives what a call sends before its result. */
export interface CallSink {
  /** `json` is the text of exactly one JSON value. Resolves when the reader has taken it. */
  token(json: string): Promise<void>;
  progress(progress: { fraction: number; note: string }): void;
}

export interface CellCall {
  readonly action: string;
  readonly request: string;
  /** UTF-8 of exactly one JSON value. */
  readonly input: Uint8Array;
  readonly wallMs: number;
  readonly signal: AbortSignal;
  readonly sink?: CallSink;
}

/** What became of the process. */
export interface CellEnd {
  /** The error that the calls under way were given. */
  readonly cause: ProblemError;
  readonly exitCode: number;
  readonly signal: string | null;
  /** Calls that were under way. */
  readonly calls: number;
  /** Who ended it: the kernel or warden by a kill, the cell at the kernel's word, or nobody. */
  readonly by: "killed" | "stopped" | "crashed";
}

export interface LiveCellOptions {
  readonly cell: string;
  readonly plugin: string;
  readonly frameBytesMax: number;
  readonly outputBytesMax: number;
  readonly streamWindowChars: number;
  readonly queueBytesMax: number;
  readonly abortGraceMs: number;
  kill(): void;
  onLog(level: "debug" | "info" | "warn" | "error", message: string): void;
}

interface PendingCall {
  readonly call: CellCall;
  readonly answer: PromiseWithResolvers<Uint8Array<ArrayBuffer>>;
  /** Its deadline has passed once, and the action was told. */
  isOverdue: boolean;
  /** The reader of its tokens went away. */
  isUnread: boolean;
  /** Tokens on their way to the reader. */
  windowChars: number;
  /** All tokens so far. */
  streamedBytes: number;
  onAbort: (() => void) | undefined;
}

const readBytes = 65_536;
/** From the end of its socket to the end of its process: the kernel of the machine takes a full heap apart. */
const hangUpGraceMs = 500;

export class LiveCell {
  /** Resolves when the plugin is loaded; rejects when it cannot be, or the cell ends first. */
  readonly ready: Promise<void>;
  readonly ended: Promise<CellEnd>;
  readonly #ready = Promise.withResolvers<void>();
  readonly #ended = Promise.withResolvers<CellEnd>();
  readonly #calls = new Map<number, PendingCall>();
  readonly #deadlines = new Deadlines((id) => this.#overdue(id));
  readonly #decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  #writer: FrameWriter | undefined;
  #connection: Deno.Conn | undefined;
  #nextId = 1;
  #fate: { error: ProblemError; culprit: number | undefined } | undefined;
  /** What the plugin's code died of, in its own words. */
  #failure: string | undefined;
  #drained: PromiseWithResolvers<void> | undefined;
  #hungUp: ReturnType<typeof setTimeout> | undefined;
  #isReady = false;
  #isDraining = false;
  #isStopping = false;
  #isOver = false;

  constructor(private readonly options: LiveCellOptions) {
    this.ready = this.#ready.promise;
    this.ended = this.#ended.promise;
    this.ready.catch(() => {}); // whoever starts a cell awaits it; an end after that is told by `ended`
  }

  get callsUnderWay(): number {
    return this.#calls.size;
  }

  /** False from the moment the cell is asked to stop, killed or gone. */
  get takesCalls(): boolean {
    return !this.#isOver && !this.#isDraining && this.#fate === undefined;
  }

  /** Hands over the connection that showed this cell's token, and tells the cell what to load. */
  connect(connection: Deno.Conn, setupJson: Uint8Array): void {
    if (this.#isOver) return connection.close();
    this.#connection = connection;
    const { frameBytesMax, queueBytesMax } = this.options;
    this.#writer = new FrameWriter(connection, {
      frameBytesMax,
      queueBytesMax,
      onError: (error) => this.#lost(error),
    });
    this.#send({ type: "setup" }, setupJson);
    void this.#read(connection);
  }

  /** Rejects with ProblemError; see {@linkcode CellCall}. */
  call(call: CellCall): Promise<Uint8Array<ArrayBuffer>> {
    if (!this.takesCalls) {
      return Promise.reject(this.#problem("PLUGIN_CRASHED", "its cell has ended"));
    }
    if (this.#writer?.isFull) {
      return Promise.reject(this.#problem("QUEUE_FULL", "its cell does not take what it is sent"));
    }
    const id = this.#nextId++;
    const answer = Promise.withResolvers<Uint8Array<ArrayBuffer>>();
    const pending: PendingCall = {
      call,
      answer,
      isOverdue: false,
      isUnread: false,
      windowChars: 0,
      streamedBytes: 0,
      onAbort: undefined,
    };
    try {
      const { action, request, input, sink } = call;
      this.#send({ type: "call", id, action, request, stream: sink !== undefined }, input);
    } catch (error) {
      if (!(error instanceof FrameError)) throw error;
      return Promise.reject(this.#problem("BODY_TOO_LARGE", error.message));
    }
    this.#calls.set(id, pending);
    this.#deadlines.set(id, call.wallMs);
    if (call.signal.aborted) this.#send({ type: "cancel", id });
    else {
      pending.onAbort = () => this.#send({ type: "cancel", id });
      call.signal.addEventListener("abort", pending.onAbort, { once: true });
    }
    return answer.promise;
  }

  /** Takes no more calls. Resolves when those under way are answered, or the cell has ended. */
  drain(): Promise<void> {
    this.#isDraining = true;
    if (this.#calls.size > 0) this.#drained ??= Promise.withResolvers<void>();
    return this.#drained?.promise ?? Promise.resolve();
  }

  /** Asks the plugin to end. The caller waits for `ended`, and kills when it takes too long. */
  stop(): void {
    this.#isDraining = true;
    if (this.#isOver || this.#isStopping) return;
    this.#isStopping = true;
    this.#send({ type: "stop" });
  }

  /** Ends the process. `culprit` is the id of the call whose fault it is; it alone gets `error`'s code. */
  kill(error: ProblemError, culprit?: number): void {
    if (this.#isOver) return;
    this.#fate ??= { error, culprit };
    this.options.kill();
  }

  /** The process has ended: told by the warden, once. */
  over(end: { exitCode: number; signal: string | null; killed: string | null }): void {
    if (this.#isOver) return;
    this.#isOver = true;
    clearTimeout(this.#hungUp);
    this.#deadlines[Symbol.dispose]();
    this.#writer?.close();
    this.#connection?.close();
    const cause = this.#fate?.error ?? this.#causeOf(end);
    const calls = this.#calls.size;
    for (const id of [...this.#calls.keys()]) {
      const isBystander = this.#fate?.culprit !== undefined && this.#fate.culprit !== id;
      this.#settle(id, isBystander ? this.#problem("PLUGIN_CRASHED", `another call ended its cell`) : cause);
    }
    const by = this.#fate !== undefined || end.killed !== null
      ? "killed"
      : this.#isStopping
      ? "stopped"
      : "crashed";
    this.#ready.reject(cause);
    this.#drained?.resolve();
    this.#ended.resolve({ cause, exitCode: end.exitCode, signal: end.signal, calls, by });
  }

  #causeOf({ exitCode, signal, killed }: { exitCode: number; signal: string | null; killed: string | null }) {
    // Wrappers report a signal as 128 + its number.
    if (killed === "LIMIT_MEMORY") {
      return this.#problem("LIMIT_MEMORY", "the cell used more memory than it may");
    }
    if (signal === "SIGTRAP" || exitCode === 128 + 5) {
      return this.#problem("LIMIT_MEMORY", "the heap of the plugin is full");
    }
    if (signal === "SIGXFSZ" || exitCode === 128 + 25) {
      return this.#problem("LIMIT_DISK", "the plugin wrote a file above its limit");
    }
    if (this.#failure !== undefined) {
      return this.#problem("PLUGIN_CRASHED", `its code failed: ${this.#failure}`);
    }
    if (this.#isStopping) return this.#problem("PLUGIN_STOPPED", "it was stopped");
    return this.#problem("PLUGIN_CRASHED", `its cell ended with ${signal ?? `exit code ${exitCode}`}`);
  }

  #problem(code: ProblemError["code"], state: string): ProblemError {
    const { plugin } = this.options;
    if (this.#isReady) return new ProblemError(code, `Cannot call plugin "${plugin}": ${state}`);
    const startCode = code === "PLUGIN_CRASHED" ? "PLUGIN_START_FAILED" : code;
    return new ProblemError(startCode, `Cannot start plugin "${plugin}": ${state}`);
  }

  #send(message: ToCell, body?: Uint8Array): void {
    this.#writer?.send(message, body);
  }

  #overdue(id: number): void {
    const pending = this.#calls.get(id);
    if (pending === undefined) return;
    if (pending.isOverdue) return this.kill(this.#tooLong(pending.call), id);
    pending.isOverdue = true;
    this.#send({ type: "cancel", id });
    this.#deadlines.set(id, this.options.abortGraceMs);
  }

  #tooLong({ action, wallMs }: CellCall): ProblemError {
    return this.#problem("LIMIT_WALL", `action "${action}" took more than ${wallMs} ms`);
  }

  async #read(connection: Deno.Conn): Promise<void> {
    const frames = new FrameReader(this.options.frameBytesMax);
    const chunk = new Uint8Array(readBytes);
    try {
      for (;;) {
        const read = await connection.read(chunk);
        if (read === null) return this.#lost(undefined);
        for (const frame of frames.push(chunk.subarray(0, read))) this.#receive(frame);
      }
    } catch (error) {
      this.#lost(error);
    }
  }

  /**
   * The socket is of no more use. A cell that hung up is most likely about to end, and how it ends says why:
   * it is killed when it takes its time. One that broke the protocol is killed at once.
   */
  #lost(error: unknown): void {
    if (this.#isOver || error instanceof Deno.errors.Interrupted) return;
    if (
      error === undefined || error instanceof Deno.errors.BrokenPipe ||
      error instanceof Deno.errors.ConnectionReset
    ) {
      this.#isDraining = true;
      this.#hungUp ??= setTimeout(() => this.options.kill(), hangUpGraceMs);
      return;
    }
    const state = error instanceof Error ? error.message : String(error);
    this.kill(this.#problem("PLUGIN_CRASHED", `its cell broke the protocol: ${state.slice(0, 512)}`));
  }

  #receive(frame: Frame): void {
    const message: FromCell = fromCellSchema.parse(frame.envelope);
    switch (message.type) {
      case "ready":
        this.#isReady = true;
        return this.#ready.resolve();
      case "failed":
        this.#failure = message.message;
        return;
      case "log":
        return this.options.onLog(message.level, withFields(message.message, message.fields));
      case "stopped":
      case "pong":
        return;
      case "hello":
        throw new Error("it greeted twice");
    }
    const pending = this.#calls.get(message.id);
    // The answer to a call that is over: it crossed its own end on the way.
    if (pending === undefined) return;
    switch (message.type) {
      case "result":
        if (pending.isOverdue) return this.#settle(message.id, this.#tooLong(pending.call));
        return this.#result(message.id, frame.body);
      case "error": {
        const { id, code, message: detail, errors } = message;
        return this.#settle(id, this.#answerProblem(pending, code, detail, errors));
      }
      case "token":
        return this.#token(message.id, pending, frame.body);
      case "progress":
        return pending.call.sink?.progress({ fraction: message.fraction, note: message.note });
    }
  }

  #answerProblem(
    { call, isOverdue, isUnread }: PendingCall,
    code: ProblemError["code"],
    detail: string,
    errors?: { path: string; message: string }[],
  ): ProblemError {
    if (isOverdue) return this.#tooLong(call);
    if (code === "ACTION_FAILED" && (isUnread || call.signal.aborted)) {
      return this.#problem("CANCELLED", `the caller of action "${call.action}" went away`);
    }
    return new ProblemError(code, detail, errors === undefined ? {} : { errors });
  }

  #result(id: number, body: Uint8Array<ArrayBuffer>): void {
    if (body.length > this.options.outputBytesMax) {
      return this.#settle(id, this.#problem("LIMIT_OUTPUT", `its output has ${body.length} bytes`));
    }
    if (!isJson(body)) {
      return this.#settle(id, this.#problem("OUTPUT_INVALID", "its output is not one JSON value"));
    }
    this.#settle(id, body);
  }

  #token(id: number, pending: PendingCall, body: Uint8Array): void {
    if (!isJson(body)) {
      return this.#settle(id, this.#problem("OUTPUT_INVALID", "a token is not one JSON value"));
    }
    const json = this.#decoder.decode(body);
    const { sink } = pending.call;
    if (sink === undefined) throw new Error("it streams to a call that asked for no stream");
    const { outputBytesMax, streamWindowChars } = this.options;
    // The guest holds back by itself, with later news of its reader than there is here.
    if (pending.windowChars > streamWindowChars) throw new Error("it streams without waiting for its reader");
    pending.streamedBytes += body.length;
    if (pending.streamedBytes > outputBytesMax) {
      this.#send({ type: "cancel", id });
      return this.#settle(id, this.#problem("LIMIT_OUTPUT", `its tokens are above ${outputBytesMax} bytes`));
    }
    const chars = json.length + tokenOverheadChars;
    pending.windowChars += chars;
    sink.token(json).then(() => {
      pending.windowChars -= chars;
      this.#send({ type: "credit", id, chars });
    }, () => {
      pending.isUnread = true;
      this.#send({ type: "cancel", id });
    });
  }

  #settle(id: number, answer: Uint8Array<ArrayBuffer> | ProblemError): void {
    const pending = this.#calls.get(id);
    if (pending === undefined) return;
    this.#calls.delete(id);
    this.#deadlines.delete(id);
    if (pending.onAbort !== undefined) pending.call.signal.removeEventListener("abort", pending.onAbort);
    if (answer instanceof ProblemError) pending.answer.reject(answer);
    else pending.answer.resolve(answer);
    if (this.#calls.size === 0) this.#drained?.resolve();
  }
}

function withFields(message: string, fields: string | undefined): string {
  return fields === undefined ? message : `${message} ${fields}`;
}

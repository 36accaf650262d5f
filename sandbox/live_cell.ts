/**
 * The kernel's end of one cell: its connection, its calls, its pauses, and its end.
 *
 * Whatever arrives is the plugin's word: envelopes are parsed, bytes become an output only when they are
 * exactly one JSON value, and a cell that breaks the protocol is killed. Every call ends: with its answer,
 * at its deadline, or with the cell.
 *
 * @module
 */
import { type FromCell, fromCellSchema, type ToCell } from "../schemas/cell_protocol.ts";
import { ProblemError } from "../schemas/problem.ts";
import type { ReportedCalls } from "./calls_report.ts";
import {
  causeOfEnd,
  causeOfKill,
  causeOfStop,
  type CellEnd,
  isCodeOfCalls,
  type ProcessEnd,
  type StopCode,
} from "./cell_end.ts";
import { type Frame, FrameError } from "./frame.ts";
import { readFrames } from "./frame_loop.ts";
import { FrameWriter } from "./frame_writer.ts";
import { HealthCheck } from "./health_check.ts";
import { type BeatingCell, Pulse } from "./heartbeat.ts";
import { type CallSink, type CellCall, type LogLevel, PendingCalls } from "./pending_calls.ts";
import type { SlowLane } from "./slow_lane.ts";

export type { CellEnd, ProcessEnd } from "./cell_end.ts";
export type { CallSink, CellCall, LogLevel } from "./pending_calls.ts";

export interface LiveCellOptions {
  readonly cell: string;
  readonly plugin: string;
  readonly frameBytesMax: number;
  readonly outputBytesMax: number;
  readonly streamWindowChars: number;
  readonly queueBytesMax: number;
  readonly abortGraceMs: number;
  readonly messagesPerSecond: number;
  readonly lane?: SlowLane | undefined;
  /** Ask the warden; what it did is told to the cell: `over`, `suspended`, `resumed`. */
  kill(): void;
  suspend(): void;
  resume(): void;
  /** A call has begun. */
  onCall(calls: ReportedCalls): void;
  /** `sink`: of the call that it was said in, if the plugin said so. */
  onLog(level: LogLevel, message: string, sink: CallSink | undefined): void;
}

/** The kernel's own reason to end the cell. */
interface Fate {
  readonly error: ProblemError;
  /** The calls whose doing it is; all of them where it is left out. */
  readonly culprits: readonly number[] | undefined;
  readonly isCallsDoing: boolean;
}

/** From the end of its socket to the end of its process: the kernel of the machine takes a full heap apart. */
const hangUpGraceMs = 500;

export class LiveCell implements BeatingCell {
  /** Resolves when the plugin is loaded; rejects when it cannot be, or the cell ends first. */
  readonly ready: Promise<void>;
  readonly ended: Promise<CellEnd>;
  readonly pulse = new Pulse();
  readonly #ready = Promise.withResolvers<void>();
  readonly #ended = Promise.withResolvers<CellEnd>();
  readonly #calls: PendingCalls;
  readonly #health: HealthCheck;
  #writer: FrameWriter | undefined;
  #connection: Deno.Conn | undefined;
  #fate: Fate | undefined;
  /** What the plugin's code died of, in its own words. */
  #failure: string | undefined;
  #hungUp: ReturnType<typeof setTimeout> | undefined;
  /** From the wish to suspend it until it runs again. */
  #suspension: PromiseWithResolvers<void> | undefined;
  #resumption: PromiseWithResolvers<void> | undefined;
  #isReady = false;
  #isDraining = false;
  #isStopping = false;
  #stopCode: StopCode = "PLUGIN_STOPPED";
  #isOver = false;

  constructor(private readonly options: LiveCellOptions) {
    const { outputBytesMax, streamWindowChars, abortGraceMs, lane } = options;
    this.ready = this.#ready.promise;
    this.ended = this.#ended.promise;
    this.ready.catch(() => {}); // whoever starts a cell awaits it; an end after that is told by `ended`
    this.#calls = new PendingCalls({
      outputBytesMax,
      streamWindowChars,
      abortGraceMs,
      ...{ lane, send: (message, body) => this.#send(message, body) },
      problem: (code, state) => this.#problem(code, state),
      overdue: (id, error) => this.kill(error, [id]),
    });
    this.#health = new HealthCheck(() => {
      const id = this.#calls.nextId();
      this.#send({ type: "health", id });
      return id;
    });
  }

  get callsUnderWay(): number {
    return this.#calls.count;
  }

  /** False from the moment the cell is to stop, killed or gone; while it is suspended; and once it is stale. */
  get takesCalls(): boolean {
    return !this.#isEnding && !this.isSuspended && !this.isStale;
  }

  get takesPings(): boolean {
    return this.#writer !== undefined && !this.#isOver && this.#fate === undefined && !this.isSuspended &&
      this.#hungUp === undefined;
  }

  /** From the wish to suspend it until it runs again. */
  get isSuspended(): boolean {
    return this.#suspension !== undefined;
  }

  /** While it was suspended a call ended without it. It is to be ended, and another to take its place. */
  get isStale(): boolean {
    return this.#calls.isStale;
  }

  get #isEnding(): boolean {
    return this.#isOver || this.#isDraining || this.#fate !== undefined;
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
    if (!this.takesCalls) return Promise.reject(this.#refusal());
    if (this.#writer?.isFull) {
      return Promise.reject(this.#problem("QUEUE_FULL", "its cell does not take what it is sent"));
    }
    try {
      const answer = this.#calls.add(call);
      this.options.onCall(this.#calls);
      return answer;
    } catch (error) {
      if (!(error instanceof FrameError)) throw error;
      return Promise.reject(this.#problem("BODY_TOO_LARGE", error.message));
    }
  }

  /** What is wrong with the plugin in its own words; `undefined` when nothing is, or it cannot be asked. */
  health(timeoutMs: number): Promise<string | undefined> {
    return this.takesCalls ? this.#health.run(timeoutMs) : Promise.resolve(undefined);
  }

  ping(nonce: number): void {
    this.#send({ type: "ping", nonce });
  }

  unresponsive(silentMs: number): void {
    const state = `its cell gave no sign of life for ${Math.round(silentMs)} ms`;
    this.kill(this.#problem("PLUGIN_UNRESPONSIVE", state));
  }

  /**
   * No CPU at all until `resume`. Calls under way stay, and their time runs on; new ones are refused. Resolves
   * when it is so. Rejects with ProblemError when the cell ends or is about to.
   */
  suspend(): Promise<void> {
    if (this.#isEnding) return Promise.reject(this.#refusal());
    if (this.#resumption !== undefined) return this.#resumption.promise.then(() => this.suspend());
    if (this.#suspension === undefined) {
      this.#suspension = createWait();
      this.#calls.suspend();
      this.#health.release();
      this.options.suspend();
    }
    return this.#suspension.promise;
  }

  /** Resolves when the cell runs again. Rejects with ProblemError when it ends. */
  resume(): Promise<void> {
    if (this.#isEnding) return Promise.reject(this.#refusal());
    if (this.#suspension === undefined) return Promise.resolve();
    if (this.#resumption === undefined) {
      this.#resumption = createWait();
      this.options.resume();
    }
    return this.#resumption.promise;
  }

  /** The process is suspended: told by the warden. */
  suspended(): void {
    this.#suspension?.resolve();
  }

  /** The process runs again: told by the warden. */
  resumed(): void {
    const wait = this.#resumption;
    if (wait === undefined) return;
    this.#suspension = undefined;
    this.#resumption = undefined;
    this.#calls.resume();
    wait.resolve();
  }

  /**
   * Takes no more calls. Resolves when those under way are answered, or the cell has ended, and no answer is being
   * checked. `code` is for those that its stop cuts off.
   */
  drain(code: StopCode = "PLUGIN_STOPPED"): Promise<void> {
    this.#isDraining = true;
    this.#stopCode = code;
    if (this.isSuspended) this.killStopped();
    return this.#calls.drained();
  }

  /** Asks the plugin to end. The caller waits for `ended`, and kills when it takes too long. */
  stop(): void {
    this.#isDraining = true;
    if (this.#isOver || this.#isStopping) return;
    // What is suspended cannot be asked, and waking it to be told to end would run it against an order.
    if (this.isSuspended) return this.killStopped();
    this.#isStopping = true;
    this.#send({ type: "stop" });
  }

  /** Ends a cell that is to stop and does not. */
  killStopped(): void {
    const { code, state } = causeOfStop(this.#stopCode);
    this.kill(this.#problem(code, state));
  }

  /**
   * Ends the process. The calls named by `culprits` get `error`, others PLUGIN_CRASHED; where none are named
   * all get it, if it is an error of calls.
   */
  kill(error: ProblemError, culprits?: readonly number[]): void {
    if (this.#isOver) return;
    this.#fate ??= { error, culprits, isCallsDoing: culprits !== undefined };
    this.options.kill();
  }

  /** The process has ended: told by the warden, once. */
  over(end: ProcessEnd): void {
    if (this.#isOver) return;
    this.#isOver = true;
    clearTimeout(this.#hungUp);
    this.#writer?.close();
    this.#connection?.close();
    const calls = this.#calls.count;
    const { error, culprits, isCallsDoing } = this.#fateBy(end);
    this.#calls.end((id) => this.#errorOf(id, error, culprits));
    this.#health.release();
    const by = this.#fate !== undefined || end.killed !== null
      ? "killed"
      : this.#isStopping
      ? "stopped"
      : "crashed";
    for (const wait of [this.#ready, this.#suspension, this.#resumption]) wait?.reject(error);
    this.#ended.resolve({
      cause: error,
      exitCode: end.exitCode,
      signal: end.signal,
      calls,
      by,
      // A few large inputs fill a heap: whoever may call a plugin must not be able to have it given up.
      isCallsDoing: isCallsDoing || calls > 0 && error.code === "LIMIT_MEMORY",
    });
  }

  /** A limit that the warden held comes first: it ended the process before the kernel's own wish did. */
  #fateBy(end: ProcessEnd): Fate {
    const limit = causeOfKill(end);
    if (limit === undefined && this.#fate !== undefined) return this.#fate;
    const stop = this.#isStopping ? this.#stopCode : undefined;
    const cause = limit ?? causeOfEnd(end, { failure: this.#failure, stop });
    // What the warden knows of calls is a moment old: where all that it names are over, it was those under way.
    const culprits = cause.culprits?.filter((id) => this.#calls.isUnderWay(id));
    const isStale = culprits?.length === 0;
    return {
      error: this.#problem(cause.code, cause.state),
      culprits: isStale ? undefined : culprits,
      // A plugin that goes on when its last call was answered does that by itself.
      isCallsDoing: culprits !== undefined && this.#calls.count > 0,
    };
  }

  #errorOf(id: number, error: ProblemError, culprits: Fate["culprits"]): ProblemError {
    if (culprits?.includes(id) === false) {
      const message = `Cannot call plugin "${this.options.plugin}": another call ended its cell`;
      return new ProblemError("PLUGIN_CRASHED", message, { cause: error });
    }
    return isCodeOfCalls(error.code)
      ? error
      : new ProblemError("PLUGIN_CRASHED", error.message, { cause: error });
  }

  /** Why it takes no calls. */
  #refusal(): ProblemError {
    if (!this.#isOver && this.isSuspended) return this.#problem("PLUGIN_STOPPED", "its cell is suspended");
    return this.#problem("PLUGIN_CRASHED", "its cell has ended");
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

  async #read(connection: Deno.Conn): Promise<void> {
    const { frameBytesMax, messagesPerSecond, lane } = this.options;
    const onFrame = (frame: Frame) => this.#receive(frame);
    try {
      const end = await readFrames(connection, { frameBytesMax, messagesPerSecond, lane, onFrame });
      if (end === "closed") return this.#lost(undefined);
      const state = `its cell sent more than ${messagesPerSecond} messages a second`;
      this.kill(this.#problem("LIMIT_MESSAGES", state));
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
      case "log": {
        const text = withFields(message.message, message.fields);
        return this.options.onLog(message.level, text, this.#calls.sinkOf(message.id));
      }
      case "pong":
        if (!this.pulse.answer(message.nonce)) throw new Error("it answered a ping that was not sent");
        return;
      case "stopped":
        return;
      case "hello":
        throw new Error("it greeted twice");
      case "result":
        if (this.#health.answer(message.id, undefined)) return;
        break;
      case "error":
        if (this.#health.answer(message.id, message.message)) return;
    }
    this.#calls.receive(message, frame.body);
  }
}

function createWait(): PromiseWithResolvers<void> {
  const wait = Promise.withResolvers<void>();
  wait.promise.catch(() => {}); // whoever asked for it waits; it rejects at the end of the cell, also unasked
  return wait;
}

function withFields(message: string, fields: string | undefined): string {
  return fields === undefined ? message : `${message} ${fields}`;
}

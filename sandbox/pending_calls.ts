/**
 * The calls under way in one cell, from the kernel's end: their deadlines, their tokens, their answers.
 *
 * Every call ends: with its answer, at its deadline, at the end of the grace that it has left when its caller goes
 * away, or with the cell. While the cell is suspended nothing can be asked of it, so a call whose deadline passes or
 * whose caller goes away ends here and now. The cell still has it, and is stale: it must not be used again.
 *
 * @module
 */
import { type CallJob, type FromCell, type ToCell, tokenOverheadChars } from "../schemas/cell_protocol.ts";
import { isJson } from "../schemas/is_json.ts";
import { type ProblemCode, ProblemError } from "../schemas/problem.ts";
import type { ReportedCalls } from "./calls_report.ts";
import { Deadlines } from "./deadlines.ts";

/** Receives what a call sends before its result. */
export interface CallSink {
  /** `json` is the text of exactly one JSON value. Resolves when the reader has taken it. */
  token(json: string): Promise<void>;
  progress(progress: { fraction: number; note: string }): void;
  /** What the action logged, in the plugin's words; what is above the rate of the plugin's log is left out. */
  log?(level: LogLevel, text: string): void;
}

export type LogLevel = "debug" | "info" | "warn" | "error";

export interface CellCall {
  readonly action: string;
  readonly request: string;
  /** UTF-8 of exactly one JSON value. */
  readonly input: Uint8Array;
  readonly wallMs: number;
  readonly signal: AbortSignal;
  readonly sink?: CallSink;
  readonly job?: CallJob;
  /**
   * From when `signal` aborts: a call that has not ended by then ends its cell, and is CANCELLED. Left out, it may
   * go on to its deadline, which holds in any case.
   */
  readonly cancelGraceMs?: number;
}

/** What a cell says of a call. */
export type CallMessage = Extract<FromCell, { type: "result" | "error" | "token" | "progress" }>;

export interface PendingCallsOptions {
  readonly outputBytesMax: number;
  readonly streamWindowChars: number;
  readonly abortGraceMs: number;
  send(message: ToCell, body?: Uint8Array): void;
  problem(code: ProblemCode, state: string): ProblemError;
  /** Its time is up, and the grace to end by itself. The cell has to go, and `error` says why. */
  overdue(id: number, error: ProblemError): void;
}

interface PendingCall {
  readonly call: CellCall;
  readonly answer: PromiseWithResolvers<Uint8Array<ArrayBuffer>>;
  /** What it ends with, whatever the cell still says of it: its time was up. */
  failure: ProblemError | undefined;
  /** Its caller went away, and its deadline is the end of the grace that it has left. */
  isCancelled: boolean;
  /** The reader of its tokens went away. */
  isUnread: boolean;
  /** Tokens on their way to the reader. */
  windowChars: number;
  /** All tokens so far. */
  streamedBytes: number;
  onAbort: (() => void) | undefined;
}

/** UTF-8 takes no more for one UTF-16 code unit. */
const bytesPerChar = 3;

export class PendingCalls implements ReportedCalls, Disposable {
  readonly #calls = new Map<number, PendingCall>();
  readonly #deadlines = new Deadlines((id) => this.#overdue(id));
  readonly #decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  #lastId = 0;
  #newest = 0;
  #drained: PromiseWithResolvers<void> | undefined;
  #isSuspended = false;
  #isStale = false;

  constructor(private readonly options: PendingCallsOptions) {}

  get count(): number {
    return this.#calls.size;
  }

  get newest(): number {
    return this.#newest;
  }

  /** The cell still works on what was ended here without it. */
  get isStale(): boolean {
    return this.#isStale;
  }

  isUnderWay(id: number): boolean {
    return this.#calls.has(id);
  }

  oldest(max: number): number[] {
    return this.#calls.keys().take(max).toArray();
  }

  /** An id for anything that the cell answers. */
  nextId(): number {
    return ++this.#lastId;
  }

  /** Sends a call and waits for its answer. Rejects with ProblemError; throws FrameError when it is too large. */
  add(call: CellCall): Promise<Uint8Array<ArrayBuffer>> {
    const id = this.nextId();
    const { action, request, input, sink, signal, job } = call;
    const message: ToCell = { type: "call", id, action, request, stream: sink !== undefined };
    this.options.send(job === undefined ? message : { ...message, job }, input);
    const answer = Promise.withResolvers<Uint8Array<ArrayBuffer>>();
    const pending: PendingCall = {
      call,
      answer,
      failure: undefined,
      isCancelled: false,
      isUnread: false,
      windowChars: 0,
      streamedBytes: 0,
      onAbort: undefined,
    };
    this.#calls.set(id, pending);
    this.#newest = id;
    this.#deadlines.set(id, call.wallMs);
    if (signal.aborted) this.#abandon(id, pending);
    else {
      pending.onAbort = () => this.#abandon(id, pending);
      signal.addEventListener("abort", pending.onAbort, { once: true });
    }
    return answer.promise;
  }

  /** Takes what the cell says of a call. Throws where that breaks the protocol. */
  receive(message: CallMessage, body: Uint8Array<ArrayBuffer>): void {
    const pending = this.#calls.get(message.id);
    // The answer to a call that is over: it crossed its own end on the way.
    if (pending === undefined) return;
    switch (message.type) {
      case "result":
        if (pending.failure !== undefined) return this.#settle(message.id, pending.failure);
        return this.#result(message.id, body);
      case "error":
        return this.#settle(message.id, this.#answerProblem(pending, message));
      case "token":
        return this.#token(message.id, pending, body);
      case "progress":
        return pending.call.sink?.progress({ fraction: message.fraction, note: message.note });
    }
  }

  /** Who is told what a call logs; nobody where the plugin names one that is not under way. */
  sinkOf(id: number | undefined): CallSink | undefined {
    return id === undefined ? undefined : this.#calls.get(id)?.call.sink;
  }

  /** Resolves when none is under way. */
  drained(): Promise<void> {
    if (this.#calls.size > 0) this.#drained ??= Promise.withResolvers<void>();
    return this.#drained?.promise ?? Promise.resolve();
  }

  /** The cell is about to be suspended. */
  suspend(): void {
    this.#isSuspended = true;
    for (const [id, pending] of [...this.#calls]) {
      if (pending.isUnread || pending.call.signal.aborted) this.#abandon(id, pending);
    }
  }

  resume(): void {
    this.#isSuspended = false;
  }

  /** The cell has ended: so has every call. */
  end(errorOf: (id: number) => ProblemError): void {
    this[Symbol.dispose]();
    for (const [id, { failure }] of [...this.#calls]) {
      // It ran out of its own time, whichever call's time ended the cell.
      this.#settle(id, failure ?? errorOf(id));
    }
  }

  [Symbol.dispose](): void {
    this.#deadlines[Symbol.dispose]();
  }

  #overdue(id: number): void {
    const pending = this.#calls.get(id);
    if (pending === undefined) return;
    const { call, failure, isCancelled } = pending;
    pending.failure ??= isCancelled ? this.#cancelled(call) : this.#tooLong(call);
    if (this.#isSuspended) return this.#settleWithout(id, pending.failure);
    if (failure !== undefined || isCancelled) return this.options.overdue(id, pending.failure);
    this.options.send({ type: "cancel", id });
    this.#deadlines.set(id, this.options.abortGraceMs);
  }

  /** Nobody waits for it any more. */
  #abandon(id: number, pending: PendingCall): void {
    const { call, failure } = pending;
    if (this.#isSuspended) return this.#settleWithout(id, failure ?? this.#cancelled(call));
    this.options.send({ type: "cancel", id });
    if (failure !== undefined || !call.signal.aborted || call.cancelGraceMs === undefined) return;
    if (this.#deadlines.hasten(id, call.cancelGraceMs)) pending.isCancelled = true;
  }

  #tooLong({ action, wallMs }: CellCall): ProblemError {
    return this.options.problem("LIMIT_WALL", `action "${action}" took more than ${wallMs} ms`);
  }

  #cancelled({ action }: CellCall): ProblemError {
    return this.options.problem("CANCELLED", `the caller of action "${action}" went away`);
  }

  #answerProblem(
    { call, failure, isUnread }: PendingCall,
    { code, message, errors }: Extract<CallMessage, { type: "error" }>,
  ): ProblemError {
    if (failure !== undefined) return failure;
    if (code === "ACTION_FAILED" && (isUnread || call.signal.aborted)) return this.#cancelled(call);
    return new ProblemError(code, message, errors === undefined ? {} : { errors });
  }

  #result(id: number, body: Uint8Array<ArrayBuffer>): void {
    const { outputBytesMax, problem } = this.options;
    if (body.length > outputBytesMax) {
      return this.#settle(id, problem("LIMIT_OUTPUT", `its output has ${body.length} bytes`));
    }
    if (!isJson(body)) {
      return this.#settle(id, problem("OUTPUT_INVALID", "its output is not one JSON value"));
    }
    this.#settle(id, body);
  }

  #token(id: number, pending: PendingCall, body: Uint8Array): void {
    const { outputBytesMax, streamWindowChars, problem } = this.options;
    const { sink } = pending.call;
    if (sink === undefined) throw new Error("it streams to a call that asked for no stream");
    // The guest holds back by itself, with later news of its reader than there is here.
    if (pending.windowChars > streamWindowChars) throw new Error("it streams without waiting for its reader");
    const tooLong = () =>
      this.#refuseStream(id, problem("LIMIT_OUTPUT", `a token is above ${streamWindowChars} characters`));
    if (body.length > bytesPerChar * streamWindowChars) return tooLong();
    if (!isJson(body)) {
      return this.#refuseStream(id, problem("OUTPUT_INVALID", "a token is not one JSON value"));
    }
    const json = this.#decoder.decode(body);
    if (json.length > streamWindowChars) return tooLong();
    pending.streamedBytes += body.length;
    if (pending.streamedBytes > outputBytesMax) {
      return this.#refuseStream(
        id,
        problem("LIMIT_OUTPUT", `its tokens are above ${outputBytesMax} bytes`),
      );
    }
    const chars = json.length + tokenOverheadChars;
    pending.windowChars += chars;
    sink.token(json).then(() => {
      pending.windowChars -= chars;
      this.options.send({ type: "credit", id, chars });
    }, () => {
      pending.isUnread = true;
      if (this.#calls.has(id)) this.#abandon(id, pending);
    });
  }

  /** The call is over, and its action is told to yield no more. */
  #refuseStream(id: number, error: ProblemError): void {
    this.options.send({ type: "cancel", id });
    this.#settle(id, error);
  }

  /** Ends a call that the cell goes on with. */
  #settleWithout(id: number, error: ProblemError): void {
    this.#isStale = true;
    this.#settle(id, error);
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

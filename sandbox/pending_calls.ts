/**
 * The calls under way in one cell, from the kernel's end: their deadlines, their tokens, their answers.
 *
 * Every call ends: with its answer, at its deadline, at the end of the grace that it has left when its caller goes
 * away, or with the cell. While the cell is suspended nothing can be asked of it, so a call whose deadline passes or
 * whose caller goes away ends here and now. The cell still has it, and is stale: it must not be used again.
 *
 * A call whose large output has come and is being checked is no longer under way: its answer came in time, and
 * neither its deadlines nor the end of the cell change that. Only its caller can give it up, by leaving.
 *
 * A caller may have less patience than the plugin has time. Then the call has a soft deadline: its caller is answered,
 * but the call stays here until its action ends or its own deadline ends the cell, which no caller brings forward.
 *
 * @module
 */
import { type FromCell, type ToCell, tokenOverheadChars } from "../schemas/cell_protocol.ts";
import { isJson } from "../schemas/is_json.ts";
import { type ProblemCode, ProblemError } from "../schemas/problem.ts";
import type { ReportedCalls } from "./calls_report.ts";
import type { CallSink, CellCall, SoftDeadline } from "./cell_call.ts";
import { type Clock, systemClock } from "./clock.ts";
import { Deadlines } from "./deadlines.ts";
import { smallJsonBytesMax } from "./large_json.ts";
import { OutputChecks } from "./output_checks.ts";
import type { SlowLane } from "./slow_lane.ts";

export type { CallSink, CellCall, LogLevel, SoftDeadline } from "./cell_call.ts";

/** What a cell says of a call. */
export type CallMessage = Extract<FromCell, { type: "result" | "error" | "token" | "progress" }>;

export interface PendingCallsOptions {
  readonly outputBytesMax: number;
  readonly streamWindowChars: number;
  readonly abortGraceMs: number;
  readonly lane?: SlowLane | undefined;
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
  /** Its hard deadline has passed: what its cell will be ended for. */
  overdue: ProblemError | undefined;
  /** Its caller was answered without its action; resolves when that has ended. */
  left: PromiseWithResolvers<void> | undefined;
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
  readonly #checks: OutputChecks;
  readonly #deadlines: Deadlines;
  readonly #softDeadlines: Deadlines;
  readonly #decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  #lastId = 0;
  #newest = 0;
  #drained: PromiseWithResolvers<void> | undefined;
  #isSuspended = false;
  #isStale = false;

  constructor(private readonly options: PendingCallsOptions, clock: Clock = systemClock) {
    this.#deadlines = new Deadlines((id) => this.#overdue(id), clock);
    this.#softDeadlines = new Deadlines((id) => this.#softlyOverdue(id), clock);
    this.#checks = new OutputChecks(options.lane);
  }

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
      overdue: undefined,
      left: undefined,
      isCancelled: false,
      isUnread: false,
      windowChars: 0,
      streamedBytes: 0,
      onAbort: undefined,
    };
    this.#calls.set(id, pending);
    this.#newest = id;
    this.#deadlines.set(id, call.wallMs);
    if (call.soft !== undefined) this.#softDeadlines.set(id, call.soft.wallMs);
    if (signal.aborted) this.#abandon(id, pending);
    else {
      pending.onAbort = () => this.#abandon(id, pending);
      signal.addEventListener("abort", pending.onAbort, { once: true });
    }
    return answer.promise;
  }

  /** Takes what the cell says of a call. Throws where that breaks the protocol. */
  receive(message: CallMessage, body: Uint8Array<ArrayBuffer>): void {
    if (this.#checks.has(message.id) && (message.type === "result" || message.type === "error")) {
      throw new Error("it answered twice");
    }
    const pending = this.#calls.get(message.id);
    // The answer to a call that is over: it crossed its own end on the way.
    if (pending === undefined) return;
    switch (message.type) {
      case "result":
        if (pending.failure !== undefined) return this.#settle(message.id, pending.failure);
        return this.#result(message.id, pending, body);
      case "error":
        return this.#settle(message.id, this.#answerProblem(pending, message));
      case "token":
        if (pending.left !== undefined) return;
        return this.#token(message.id, pending, body);
      case "progress":
        if (pending.left !== undefined) return;
        return pending.call.sink?.progress({ fraction: message.fraction, note: message.note });
    }
  }

  /** Who is told what a call logs; nobody where the plugin names one that is not under way. */
  sinkOf(id: number | undefined): CallSink | undefined {
    const pending = id === undefined ? undefined : this.#calls.get(id);
    return pending?.left === undefined ? pending?.call.sink : undefined;
  }

  /** Resolves when none is under way, and no output is being checked. */
  drained(): Promise<void> {
    if (this.#calls.size + this.#checks.count > 0) this.#drained ??= Promise.withResolvers<void>();
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
    // Who was left meanwhile could not be told.
    for (const [id, { left }] of this.#calls) {
      if (left !== undefined) this.options.send({ type: "cancel", id });
    }
  }

  /** The cell has ended: so has every call that it had not answered. */
  end(errorOf: (id: number) => ProblemError): void {
    this[Symbol.dispose]();
    for (const [id, { failure }] of [...this.#calls]) {
      // It ran out of its own time, whichever call's time ended the cell.
      this.#settle(id, failure ?? errorOf(id));
    }
  }

  [Symbol.dispose](): void {
    this.#deadlines[Symbol.dispose]();
    this.#softDeadlines[Symbol.dispose]();
  }

  #overdue(id: number): void {
    const pending = this.#calls.get(id);
    if (pending === undefined) return;
    const { call, isCancelled } = pending;
    const hadGrace = pending.overdue !== undefined || isCancelled;
    pending.overdue ??= isCancelled ? this.#cancelled(call) : this.#tooLong(call);
    // What ends by its own time, or by its caller's leaving, is answered with its cell.
    if (pending.failure === undefined) this.#softDeadlines.delete(id);
    pending.failure ??= pending.overdue;
    if (this.#isSuspended) return this.#settleWithout(id, pending.failure);
    if (hadGrace) return this.options.overdue(id, pending.overdue);
    this.options.send({ type: "cancel", id });
    this.#deadlines.set(id, this.options.abortGraceMs);
  }

  /** Twice at most: when the action is to be told, and when it has had its grace. */
  #softlyOverdue(id: number): void {
    const pending = this.#calls.get(id);
    const soft = pending?.call.soft;
    if (pending === undefined || soft === undefined) return;
    const { call, failure } = pending;
    pending.failure ??= this.#outwaited(call, soft);
    if (failure !== undefined || this.#isSuspended) return this.#leave(pending, soft, pending.failure);
    this.options.send({ type: "cancel", id });
    this.#softDeadlines.set(id, this.options.abortGraceMs);
  }

  /** Answers the caller; the call stays. */
  #leave(pending: PendingCall, soft: SoftDeadline, error: ProblemError): void {
    pending.left = Promise.withResolvers<void>();
    forgetCaller(pending);
    soft.onLeft(pending.left.promise);
    pending.answer.reject(error);
  }

  /** Nobody waits for it any more. */
  #abandon(id: number, pending: PendingCall): void {
    const { call, failure, left } = pending;
    if (left !== undefined) return;
    if (this.#isSuspended) return this.#settleWithout(id, failure ?? this.#cancelled(call));
    this.options.send({ type: "cancel", id });
    if (failure !== undefined || !call.signal.aborted || call.cancelGraceMs === undefined) return;
    if (this.#deadlines.hasten(id, call.cancelGraceMs)) pending.isCancelled = true;
  }

  #tooLong({ action, wallMs }: CellCall): ProblemError {
    return this.options.problem("LIMIT_WALL", `action "${action}" took more than ${wallMs} ms`);
  }

  #outwaited(call: CellCall, { wallMs }: SoftDeadline): ProblemError {
    const { message } = this.options.problem(
      "LIMIT_WALL",
      `action "${call.action}" took more than ${wallMs} ms`,
    );
    return new ProblemError("LIMIT_WALL", message, { cause: this.#cancelled(call) });
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

  #result(id: number, pending: PendingCall, body: Uint8Array<ArrayBuffer>): void {
    const { outputBytesMax, problem } = this.options;
    if (body.length > outputBytesMax) {
      return this.#settle(id, problem("LIMIT_OUTPUT", `its output has ${body.length} bytes`));
    }
    if (body.length > smallJsonBytesMax) return void this.#checkLarge(id, pending, body);
    this.#settle(id, isJson(body) ? body : this.#invalid());
  }

  /** Given up when the caller leaves. Never rejects. */
  async #checkLarge(id: number, pending: PendingCall, body: Uint8Array<ArrayBuffer>): Promise<void> {
    const { call, answer } = pending;
    this.#remove(id, pending);
    try {
      if (await this.#checks.run(id, body, call.signal)) answer.resolve(body);
      else answer.reject(this.#invalid());
    } catch (cause) {
      const { message } = this.options.problem("INTERNAL", "its output could not be checked");
      const failed = new ProblemError("INTERNAL", message, { cause });
      answer.reject(call.signal.aborted ? this.#cancelled(call) : failed);
    }
    this.#checkDrained();
  }

  #invalid(): ProblemError {
    return this.options.problem("OUTPUT_INVALID", "its output is not one JSON value");
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
    this.#remove(id, pending);
    if (pending.left !== undefined) pending.left.resolve();
    else if (answer instanceof ProblemError) pending.answer.reject(answer);
    else pending.answer.resolve(answer);
    this.#checkDrained();
  }

  /** It is no longer under way. */
  #remove(id: number, pending: PendingCall): void {
    this.#calls.delete(id);
    this.#deadlines.delete(id);
    this.#softDeadlines.delete(id);
    forgetCaller(pending);
  }

  #checkDrained(): void {
    if (this.#calls.size + this.#checks.count === 0) this.#drained?.resolve();
  }
}

function forgetCaller({ call, onAbort }: PendingCall): void {
  if (onAbort !== undefined) call.signal.removeEventListener("abort", onAbort);
}

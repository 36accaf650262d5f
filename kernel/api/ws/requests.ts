/**
 * Requests under way on one WebSocket: calls, jobs, subscriptions, and what cancels them.
 *
 * Invariants:
 * - each request is answered once by RESULT, COMPLETE or ERROR, and its id is free again by then; a subscription's
 *   RESULT comes before its events;
 * - what cancels a request is none itself: it is answered also where nothing else begins;
 * - the caller is asked for the token again at each act;
 * - an act refused to a known caller is in the ledger before its answer, as it is over HTTP, see `problems.ts`.
 *
 * @module
 */
import { getLogger } from "@logtape/logtape";
import { ProblemError } from "../../../schemas/problem.ts";
import type { ClientMessage, ServerMessageType } from "../../../schemas/ws_protocol.ts";
import type { StreamSink } from "../../router/call.ts";
import { Tracker } from "../../tracker.ts";
import { checkReady, checkRole } from "../authenticate.ts";
import type { ApiKernel, Caller } from "../context.ts";
import { readerOf } from "../jobs.ts";
import { toProblemError } from "../problems.ts";
import type { Outbox } from "./outbox.ts";
import { pump } from "./pump.ts";
import {
  errorText,
  eventPayload,
  invokedPayload,
  jobPayload,
  messageText,
  type WsError,
} from "./server_messages.ts";

const logger = getLogger(["airlock", "api", "ws"]);

export type WsKernel = Pick<
  ApiKernel,
  "config" | "version" | "startedAtMs" | "status" | "router" | "jobs" | "feed" | "refuse" | "ledger"
>;

export interface RequestsOptions {
  readonly kernel: WsKernel;
  readonly outbox: Pick<Outbox, "waitingChars" | "send" | "take" | "post">;
  /** Throws UNAUTHENTICATED when the token no longer stands for anybody. */
  authenticate(): Caller;
  /** It was UNAUTHENTICATED, and the client was told. */
  revoked(): void;
}

type Message<T extends ClientMessage["type"]> = Extract<ClientMessage, { type: T }>;
export type ActMessage = Message<"INVOKE" | "ENQUEUE" | "SUBSCRIBE" | "CANCEL">;

interface Request {
  readonly message: ActMessage;
  readonly controller: AbortController;
  /** Made by us for each request, as the ledger has it. */
  readonly request: string;
  caller?: Caller;
  /** Set before the request is handed to the router, which records the calls it refuses itself. */
  recorded?: true;
  /** Its token stands for nobody any more. */
  revoked?: true;
}

/** Characters of what waits for the client above which no request begins: two of the largest results. */
export const waitingCharsFull = 33_554_432;

export class Requests {
  readonly #underWay = new Map<string, Request>();
  readonly #tracker = new Tracker((error) => logger.error("A request's answer failed: {error}", { error }));
  readonly #encoder = new TextEncoder();
  #drained: PromiseWithResolvers<void> | undefined;

  constructor(private readonly options: RequestsOptions) {}

  has(id: string): boolean {
    return this.#underWay.has(id);
  }

  /** `message.id` is none of a request under way. */
  begin(message: ActMessage): void {
    const request: Request = { message, controller: new AbortController(), request: crypto.randomUUID() };
    if (message.type === "CANCEL" && "request" in message.payload) {
      return this.#tracker.track(this.#answerAtOnce(request));
    }
    // One above the limit is refused, and so never under way; its refusal is bounded by the caller's budget.
    const full = this.#whyFull();
    if (full !== undefined) return this.#tracker.track(this.#refuseFull(request, full));
    this.#underWay.set(message.id, request);
    this.#tracker.track(this.#carryOut(request));
  }

  #whyFull(): string | undefined {
    const { requestsMax } = this.options.kernel.config.streams;
    if (this.#underWay.size >= requestsMax) return `${requestsMax} are under way`;
    const { waitingChars } = this.options.outbox;
    return waitingChars < waitingCharsFull ? undefined : `${waitingChars} characters wait to be taken`;
  }

  /** Resolves when nothing but subscriptions is under way: these have no end of their own. */
  async drained(): Promise<void> {
    if (!this.#isActing()) return;
    this.#drained ??= Promise.withResolvers<void>();
    await this.#drained.promise;
  }

  /** Aborts everything; to be called when nobody hears of it any more. Resolves when all of it has ended. */
  async abort(): Promise<void> {
    for (const { controller } of this.#underWay.values()) controller.abort();
    await this.#tracker.settled();
  }

  #isActing(): boolean {
    return this.#underWay.values().some(({ message }) => message.type !== "SUBSCRIBE");
  }

  async #carryOut(request: Request): Promise<void> {
    const { message } = request;
    try {
      await this.options.outbox.send(await this.#answer(request));
    } finally {
      this.#underWay.delete(message.id);
      if (!this.#isActing()) this.#drained?.resolve();
    }
    if (request.revoked) this.options.revoked();
  }

  /** Of what waits for nothing. Nobody waits for the reader to take it either, see `Outbox.post`. */
  async #answerAtOnce(request: Request): Promise<void> {
    this.options.outbox.post(await this.#answer(request));
    if (request.revoked) this.options.revoked();
  }

  async #answer(request: Request): Promise<string> {
    try {
      const { kernel } = this.options;
      checkReady(kernel);
      return await this.#act(request, this.#authenticate(request));
    } catch (error) {
      return await this.#refuse(request, toProblemError(error));
    }
  }

  #authenticate(request: Request): Caller {
    // Unless it comes back from here.
    request.revoked = true;
    const caller = this.options.authenticate();
    delete request.revoked;
    request.caller = caller;
    return caller;
  }

  async #act(request: Request, caller: Caller): Promise<string> {
    const { message } = request;
    switch (message.type) {
      case "INVOKE":
        return await this.#invoke(request, message, caller);
      case "ENQUEUE":
        return await this.#enqueue(message, caller);
      case "SUBSCRIBE":
        return await this.#subscribe(request, message, caller);
      case "CANCEL":
        return "job" in message.payload
          ? await this.#cancelJob(message.id, message.payload.job, caller)
          : this.#cancelRequest(message.id, message.payload.request);
    }
  }

  async #invoke(
    request: Request,
    { id, payload: { plugin, action, input, stream } }: Message<"INVOKE">,
    caller: Caller,
  ): Promise<string> {
    checkRole(caller, "invoker");
    const bytes = this.#inputBytes(input);
    request.recorded = true;
    const result = await this.options.kernel.router.invoke({
      ...{ plugin, action, actor: caller.actor, request: request.request, signal: request.controller.signal },
      input: bytes,
      ...(stream ? { sink: this.#sink(id) } : {}),
    });
    const type: ServerMessageType = stream ? "COMPLETE" : "RESULT";
    return messageText(type, id, invokedPayload(result));
  }

  /** Throws BODY_TOO_LARGE: an input has the bound of a body, as it is passed on. */
  #inputBytes(input: unknown): Uint8Array<ArrayBuffer> {
    const bytes = this.#encoder.encode(JSON.stringify(input));
    const { bodyBytesMax } = this.options.kernel.config.http;
    if (bytes.length <= bodyBytesMax) return bytes;
    throw new ProblemError("BODY_TOO_LARGE", `Cannot take the input: it has more than ${bodyBytesMax} bytes`);
  }

  #sink(id: string): StreamSink {
    const { outbox } = this.options;
    let latest: string | undefined;
    return {
      token: (json) => outbox.send(messageText("TOKEN", id, json)),
      // If the reader is slow, only the latest one.
      progress: ({ fraction, note }) => {
        const isWaiting = latest !== undefined;
        latest = JSON.stringify({ fraction, note });
        if (isWaiting) return;
        this.#tracker.track(outbox.take(() => {
          const text = messageText("PROGRESS", id, latest ?? "null");
          latest = undefined;
          return [text];
        }));
      },
    };
  }

  async #enqueue({ id, payload }: Message<"ENQUEUE">, caller: Caller): Promise<string> {
    checkRole(caller, "invoker");
    this.#inputBytes(payload.input);
    const { value: [job], checkpoint } = await this.options.kernel.jobs.enqueue([payload], caller.actor);
    if (job === undefined) throw new TypeError("Cannot answer ENQUEUE: nothing was enqueued");
    return messageText("RESULT", id, jobPayload({ value: job, checkpoint }));
  }

  async #subscribe(
    { controller: { signal } }: Request,
    { id, payload: { job, after } }: Message<"SUBSCRIBE">,
    caller: Caller,
  ): Promise<string> {
    const { kernel, outbox } = this.options;
    using cursor = kernel.jobs.watch(job, after, readerOf(caller));
    await outbox.send(messageText("RESULT", id, '{"kind":"done"}'));
    let seq = String(after);
    await pump({
      ...{ cursor, outbox, signal },
      toText: (event) => {
        seq = event.id;
        return messageText("EVENT", id, eventPayload(event, "job"));
      },
    });
    if (signal.aborted) {
      throw new ProblemError("CANCELLED", `Cannot go on with subscription "${id}": it was cancelled`);
    }
    return messageText("COMPLETE", id, `{"kind":"subscribed","seq":${seq}}`);
  }

  /** Its own request's end tells what became of it. */
  #cancelRequest(id: string, target: string): string {
    const underWay = this.#underWay.get(target);
    if (underWay === undefined) {
      throw new ProblemError("NOT_FOUND", `Cannot cancel request "${target}": none is under way`);
    }
    const { type } = underWay.message;
    if (type !== "INVOKE" && type !== "SUBSCRIBE") {
      throw new ProblemError("CONFLICT", `Cannot cancel request "${target}": ${type} ends by itself`);
    }
    underWay.controller.abort();
    return messageText("RESULT", id, '{"kind":"done"}');
  }

  async #cancelJob(id: string, job: string, caller: Caller): Promise<string> {
    checkRole(caller, "invoker");
    const cancelled = await this.options.kernel.jobs.cancel(job, caller.actor, readerOf(caller));
    return messageText("RESULT", id, jobPayload(cancelled));
  }

  async #refuseFull(request: Request, state: string): Promise<void> {
    const { outbox, revoked } = this.options;
    let problem: ProblemError;
    try {
      this.#authenticate(request);
      problem = new ProblemError("QUEUE_FULL", `Cannot take a request: ${state}`, { retryAfterMs: 1_000 });
    } catch (error) {
      problem = toProblemError(error);
    }
    outbox.post(await this.#refuse(request, problem));
    if (request.revoked) revoked();
  }

  /** The ERROR that answers a request, after it was recorded if it refuses an act. */
  async #refuse(request: Request, problem: ProblemError): Promise<string> {
    const { kernel } = this.options;
    const { message, caller } = request;
    let told = problem;
    if (caller !== undefined && !request.recorded && isRefusedAct(message, problem)) {
      try {
        const [plugin, target] = targetOf(message);
        await kernel.refuse({
          ...{ code: problem.code, target: `WS ${message.type} ${target}`, plugin },
          ...{ actor: caller.actor, request: request.request },
        });
      } catch (cause) {
        // An act that cannot be recorded is not answered as if it were.
        told = toProblemError(cause);
      }
    }
    const isWrite = caller !== undefined && isAct(message);
    return errorText(message.id, {
      ...toWsError(told),
      ...(isWrite ? { checkpoint: kernel.ledger.checkpointBase64() } : {}),
    });
  }
}

/** The problem as this protocol tells it: Airlock's own failures have one code. */
export function toWsError({ code, message, options: { errors, retryAfterMs } }: ProblemError): WsError {
  return { code: code === "INTERNAL" ? "PROCESSING_ERROR" : code, message, errors, retryAfterMs };
}

/** Whether it is more than a look. */
function isAct({ type, payload }: ActMessage): boolean {
  return type === "INVOKE" || type === "ENQUEUE" || (type === "CANCEL" && "job" in payload);
}

/** Airlock's own failures are none, nor is the end of what was under way. */
function isRefusedAct(message: ActMessage, { code }: ProblemError): boolean {
  if (code === "FORBIDDEN") return true;
  return isAct(message) && code !== "INTERNAL" && code !== "NOT_READY";
}

function targetOf(message: ActMessage): [plugin: string, target: string] {
  switch (message.type) {
    case "INVOKE":
    case "ENQUEUE": {
      const { plugin, action } = message.payload;
      return [plugin, `${plugin}/${action}`];
    }
    case "SUBSCRIBE":
      return ["", message.payload.job];
    case "CANCEL":
      return ["", "job" in message.payload ? message.payload.job : message.payload.request];
  }
}

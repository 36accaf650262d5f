/**
 * Exchanges are what is under way between a client and its server: each a request and what answers it.
 *
 *     waiting → under way → closed                      postponed → waiting: with the next connection
 *     under way → (its connection is lost) → waiting    where it may be made again
 *
 * The server takes `requestsMax` requests at once on one connection, each a slot here from when it is sent to its
 * last answer; who finds none waits its turn. A request that nobody waits for any more holds its slot until the server
 * says that it has ended, for until then it is under way there.
 *
 * The table gives each request its id on the wire and leads what comes back to its exchange. An id is never used
 * twice by a client. An answer to an id that was given out and is done with is ignored: the exchange timed out or
 * was cancelled while it was on its way. One to an id that never was is a fault of the server. One that cannot be read
 * fails its exchange, and no other.
 *
 * @module
 */
import type { ClientMessage } from "../../schemas/ws_protocol.ts";
import { AirlockError, MessageTooLargeError, ProtocolError, TooManyRequestsError } from "./errors.ts";
import type { Link } from "./link.ts";
import type { Unreadable } from "./read_message.ts";
import type { Ready, ServerMessage } from "./server_messages.ts";

type Body<T> = T extends ClientMessage ? { readonly type: T["type"]; readonly payload: unknown } : never;
/** A message without its id. */
export type RequestBody = Body<Exclude<ClientMessage, { type: "INIT" }>>;

export interface Exchange {
  /** It is its turn: to be sent now. */
  begin(): void;
  /** Throws ProtocolError for what it does not expect. `chars`: length of the frame. */
  receive(message: ServerMessage, chars: number): void;
  /** The connection ended under it. */
  lost(cause: Error): void;
  /** The client does not try any more. */
  fail(cause: Error): void;
}

interface Slot {
  readonly type: RequestBody["type"];
  /** undefined: nobody waits for it any more. */
  exchange: Exchange | undefined;
}

export class Exchanges {
  readonly #link: Link;
  readonly #exchangesMax: number;
  readonly #open = new Set<Exchange>();
  /** In the order of their turns. */
  readonly #waiting = new Set<Exchange>();
  readonly #postponed = new Set<Exchange>();
  readonly #slots = new Map<string, Slot>();
  readonly #idOf = new Map<Exchange, string>();
  /** Id of a CANCEL that was not answered → that of its request. */
  readonly #cancels = new Map<string, string>();
  readonly #refusedCancels = new Set<string>();
  #lastNumber = 0;
  #messageBytesMax = Infinity;
  #requestsMax = 0;

  constructor(link: Link, exchangesMax: number) {
    this.#link = link;
    this.#exchangesMax = exchangesMax;
  }

  /** Throws {@linkcode TooManyRequestsError}, and what the client failed of. */
  open(exchange: Exchange): void {
    if (this.#open.size >= this.#exchangesMax) {
      throw new TooManyRequestsError(`Cannot send "a request": ${this.#open.size} are under way or wait`);
    }
    this.checkTrying();
    this.#open.add(exchange);
    this.wait(exchange);
  }

  /** Connects, if that was not begun. Throws what the client failed of, until `connect()` begins anew. */
  checkTrying(): void {
    if (this.#link.state !== "ERROR") this.#link.start();
    if (this.#link.state === "ERROR") throw this.#link.cause;
  }

  /** `begin()` is called when it is its turn: it is open, and not under way. */
  wait(exchange: Exchange): void {
    this.#waiting.add(exchange);
    this.#beginWaiting();
  }

  /** It waits for its turn on the next connection. */
  postpone(exchange: Exchange): void {
    this.#postponed.add(exchange);
  }

  /** To be called by `begin()`. Throws {@linkcode MessageTooLargeError}. */
  send(exchange: Exchange, { type, payload }: RequestBody): void {
    const id = this.#nextId();
    const text = JSON.stringify({ type, id, payload });
    // Three bytes at most for a UTF-16 unit: only a text that may be too large is measured.
    if (text.length * 3 > this.#messageBytesMax && sizeOf(text) > this.#messageBytesMax) {
      throw new MessageTooLargeError(
        `Cannot send "${type}": ${sizeOf(text)} bytes, and at most ${this.#messageBytesMax} are taken`,
      );
    }
    this.#slots.set(id, { type, exchange });
    this.#idOf.set(exchange, id);
    this.#link.send(text);
  }

  /** Ends its request at the server, where that is under way; nobody waits for the answer. */
  cancel(exchange: Exchange): void {
    const id = this.#abandon(exchange);
    if (id !== undefined && this.#slots.has(id)) this.#sendCancel(id);
  }

  /** It is done with. */
  close(exchange: Exchange): void {
    this.#abandon(exchange);
    this.#waiting.delete(exchange);
    this.#postponed.delete(exchange);
    this.#open.delete(exchange);
  }

  /** Throws {@linkcode ProtocolError}. */
  receive(message: ServerMessage, chars: number): void {
    for (const id of this.#refusedCancels) this.#sendCancel(id);
    this.#refusedCancels.clear();
    const { id } = message;
    const slot = id === null ? undefined : this.#slots.get(id);
    if (id === null || slot === undefined) return this.#receiveOther(message);
    const { exchange } = slot;
    const isOver = isLast(message, slot);
    if (isOver) this.#free(id);
    exchange?.receive(message, chars);
    // Not before: one that throws is lost with the connection, and must be found then.
    if (isOver && exchange !== undefined && this.#idOf.get(exchange) === id) this.#idOf.delete(exchange);
    this.#beginWaiting();
  }

  /** Throws {@linkcode ProtocolError} where nothing was asked under its id. */
  receiveUnreadable({ id, sent, cause }: Unreadable): void {
    const slot = this.#slots.get(id);
    if (slot === undefined) {
      if (!this.#wasGiven(id)) throw cause;
      this.#cancels.delete(id);
      return;
    }
    if (isLast({ type: sent }, slot)) this.#free(id);
    const { exchange } = slot;
    if (exchange !== undefined) {
      this.cancel(exchange);
      exchange.fail(cause);
    }
    this.#beginWaiting();
  }

  ready({ messageBytesMax, requestsMax }: Ready): void {
    this.#messageBytesMax = messageBytesMax;
    this.#requestsMax = requestsMax;
    this.#beginWaiting();
  }

  lost(cause: Error): void {
    const underWay = [...this.#idOf.keys()];
    const waiting = [...this.#postponed, ...this.#waiting];
    this.#clear();
    // Those that are made again wait first, before those that did not have their turn.
    for (const exchange of underWay) exchange.lost(cause);
    for (const exchange of waiting) this.#waiting.add(exchange);
  }

  failed(cause: Error): void {
    const open = [...this.#open];
    this.#clear();
    this.#open.clear();
    for (const exchange of open) exchange.fail(cause);
  }

  #clear(): void {
    for (
      const part of [
        this.#waiting,
        this.#postponed,
        this.#slots,
        this.#idOf,
        this.#cancels,
        this.#refusedCancels,
      ]
    ) part.clear();
  }

  #beginWaiting(): void {
    for (const exchange of this.#waiting) {
      if (this.#link.state !== "READY" || this.#slots.size >= this.#requestsMax) return;
      this.#waiting.delete(exchange);
      exchange.begin();
    }
  }

  #nextId(): string {
    return `r${++this.#lastNumber}`;
  }

  /** Whether it is the id of a request of ours. */
  #wasGiven(id: string): boolean {
    const number = /^r([1-9]\d{0,15})$/.exec(id)?.[1];
    return number !== undefined && Number(number) <= this.#lastNumber;
  }

  /** What still comes for it is ignored. Returns the id of its request, where it has one. */
  #abandon(exchange: Exchange): string | undefined {
    const id = this.#idOf.get(exchange);
    if (id === undefined) return undefined;
    this.#idOf.delete(exchange);
    const slot = this.#slots.get(id);
    if (slot !== undefined) slot.exchange = undefined;
    return id;
  }

  #free(id: string): void {
    this.#slots.delete(id);
    this.#refusedCancels.delete(id);
  }

  /** Takes no slot. */
  #sendCancel(request: string): void {
    const id = this.#nextId();
    this.#cancels.set(id, request);
    this.#link.send(JSON.stringify({ type: "CANCEL", id, payload: { request } }));
  }

  /** What answers no request that is under way. */
  #receiveOther(message: ServerMessage): void {
    const { id, type } = message;
    if (type === "PONG") return;
    // The server could not read the id of what it answers.
    if (type === "ERROR" && id === null) {
      throw new ProtocolError('Cannot take "ERROR": it answers nothing', new AirlockError(message.payload));
    }
    if (id === null || !this.#wasGiven(id)) {
      throw new ProtocolError(`Cannot take "${type}": nothing was asked under its id`);
    }
    const cancelled = this.#cancels.get(id);
    this.#cancels.delete(id);
    // Refused for the moment. It is tried again with the next message, which is a round trip later at the soonest.
    if (cancelled === undefined || type !== "ERROR" || message.payload.code !== "QUEUE_FULL") return;
    if (this.#slots.has(cancelled)) this.#refusedCancels.add(cancelled);
  }
}

/** Whether nothing comes after it to the same request. */
function isLast({ type }: Pick<ServerMessage, "type">, slot: Slot): boolean {
  return type === "COMPLETE" || type === "ERROR" || (type === "RESULT" && slot.type !== "SUBSCRIBE");
}

/** Bytes in UTF-8. */
function sizeOf(text: string): number {
  return new TextEncoder().encode(text).length;
}

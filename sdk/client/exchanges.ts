/**
 * Exchanges are what is under way between a client and its server: each a request and what answers it.
 *
 * The table gives each request its id on the wire and leads what comes back to its exchange. An id is never used
 * twice by a client. An answer to an id that was given out and is done with is ignored: the exchange timed out or
 * was cancelled while it was on its way. One to an id that never was is a fault of the server.
 *
 * @module
 */
import type { ClientMessage, ServerMessage } from "../../schemas/ws_protocol.ts";
import type { Ready } from "./connection.ts";
import { AirlockError, MessageTooLargeError, ProtocolError, TooManyRequestsError } from "./errors.ts";
import type { Link } from "./link.ts";

type Body<T> = T extends ClientMessage ? { readonly type: T["type"]; readonly payload: unknown } : never;
/** A message without its id. */
export type RequestBody = Body<Exclude<ClientMessage, { type: "INIT" }>>;

export interface Exchange {
  /** The connection is READY: at its beginning, and again after each that was lost. */
  begin(): void;
  /** Throws ProtocolError for what it does not expect. `chars`: length of the frame. */
  receive(message: ServerMessage, chars: number): void;
  lost(cause: Error): void;
  /** The client does not try any more. */
  fail(cause: Error): void;
}

export class Exchanges {
  readonly #link: Link;
  readonly #exchangesMax: number;
  readonly #open = new Set<Exchange>();
  readonly #byId = new Map<string, Exchange>();
  #lastNumber = 0;
  #messageBytesMax = Infinity;

  constructor(link: Link, exchangesMax: number) {
    this.#link = link;
    this.#exchangesMax = exchangesMax;
  }

  get size(): number {
    return this.#open.size;
  }

  get isReady(): boolean {
    return this.#link.state === "READY";
  }

  /** Throws {@linkcode TooManyRequestsError}, and what the client failed of. */
  open(exchange: Exchange): void {
    if (this.#open.size >= this.#exchangesMax) {
      throw new TooManyRequestsError(`Cannot send "a request": ${this.#open.size} are under way`);
    }
    this.checkTrying();
    this.#open.add(exchange);
    if (this.isReady) exchange.begin();
  }

  /** Connects, if that was not begun. Throws what the client failed of, until `connect()` begins anew. */
  checkTrying(): void {
    if (this.#link.state !== "ERROR") this.#link.start();
    if (this.#link.state === "ERROR") throw this.#link.cause;
  }

  /** To be called when READY. Returns the id. Throws {@linkcode MessageTooLargeError}. */
  send(exchange: Exchange, { type, payload }: RequestBody): string {
    const id = `r${++this.#lastNumber}`;
    const text = JSON.stringify({ type, id, payload });
    // Three bytes at most for a UTF-16 unit: only a text that may be too large is measured.
    if (text.length * 3 > this.#messageBytesMax && sizeOf(text) > this.#messageBytesMax) {
      throw new MessageTooLargeError(
        `Cannot send "${type}": ${sizeOf(text)} bytes, and at most ${this.#messageBytesMax} are taken`,
      );
    }
    this.#byId.set(id, exchange);
    this.#link.send(text);
    return id;
  }

  /** What still comes for this id is ignored. */
  forget(id: string | undefined): void {
    if (id !== undefined) this.#byId.delete(id);
  }

  /** Ends a request that is under way at the server; nobody waits for the answer. */
  cancel(id: string | undefined): void {
    if (id === undefined || !this.#byId.delete(id) || !this.isReady) return;
    this.#link.send(
      JSON.stringify({ type: "CANCEL", id: `r${++this.#lastNumber}`, payload: { request: id } }),
    );
  }

  /** It is done with, and so is its id. */
  close(exchange: Exchange, id?: string): void {
    this.forget(id);
    this.#open.delete(exchange);
  }

  /** Throws {@linkcode ProtocolError}. */
  receive(message: ServerMessage, chars: number): void {
    const { id } = message;
    const exchange = id === null ? undefined : this.#byId.get(id);
    if (exchange !== undefined) return exchange.receive(message, chars);
    if (message.type === "PONG") return;
    // The server could not read the id of what it answers.
    if (message.type === "ERROR" && id === null) {
      throw new ProtocolError('Cannot take "ERROR": it answers nothing', new AirlockError(message.payload));
    }
    const number = /^r([1-9]\d{0,15})$/.exec(id ?? "")?.[1];
    if (number === undefined || Number(number) > this.#lastNumber) {
      throw new ProtocolError(`Cannot take "${message.type}": nothing was asked under its id`);
    }
  }

  ready({ messageBytesMax }: Ready): void {
    this.#messageBytesMax = messageBytesMax;
    for (const exchange of [...this.#open]) exchange.begin();
  }

  lost(cause: Error): void {
    this.#byId.clear();
    for (const exchange of [...this.#open]) exchange.lost(cause);
  }

  failed(cause: Error): void {
    this.#byId.clear();
    for (const exchange of [...this.#open]) exchange.fail(cause);
    this.#open.clear();
  }
}

/** Bytes in UTF-8. */
function sizeOf(text: string): number {
  return new TextEncoder().encode(text).length;
}

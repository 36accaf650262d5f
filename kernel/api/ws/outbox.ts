/**
 * An outbox is what goes to one WebSocket client: in order, and no more at a time than its reader has room for.
 *
 * A server's socket says how much of what it was given has not left yet, and not when that gets less. So while
 * something waits, and only then, one timer looks. A message counts as one: none of it has left before all of it has.
 * So what is under way has the time that it takes at {@linkcode slowestBytesPerSecond}, and `timeoutMs` beside that.
 * No sign of life can overtake it either: a client has to bear silence while a long message comes.
 *
 * Invariants:
 * - what waits goes first in, first out, so that no message overtakes another;
 * - under way are `bytesMax` bytes and one turn's messages at most; behind them wait turns, whose number is bounded by
 *   those who wait for them, texts of {@linkcode waitingCharsMax} together, and of what nobody waits for
 *   {@linkcode postedWindows};
 * - a reader who takes nothing for that time while something waits, or lets more than that wait, is too slow;
 * - nothing is sent to a socket that is not open, which would throw: its end is told to its owner by itself.
 *
 * @module
 */
import type { Clock } from "../../../sandbox/clock.ts";

export interface OutboxOptions {
  readonly socket: Pick<WebSocket, "bufferedAmount" | "readyState" | "send">;
  readonly bytesMax: number;
  readonly timeoutMs: number;
  readonly clock: Clock;
  /** Called once; the outbox is of no use after it. */
  tooSlow(): void;
}

/** Makes the messages of a turn, when it has come; `bytesMax` is the room there is. */
export type Turn = (bytesMax: number) => readonly string[];

interface WaitingTurn {
  readonly turn: Turn;
  readonly promise: PromiseWithResolvers<void>;
}

/** So often `bytesMax` characters may wait of what nobody waits for: a client may ask much in one breath. */
export const postedWindows = 16;

/** Characters of texts that may wait, results of calls first of all: eight of the largest. */
export const waitingCharsMax = 134_217_728;

/** Whoever takes less than this is too slow for what it asked for. */
export const slowestBytesPerSecond = 65_536;

/** How often the socket is looked at while something waits. */
export const pollMs = 10;

export class Outbox {
  readonly #waiting = new Set<WaitingTurn>();
  #postedChars = 0;
  #waitingChars = 0;
  #state: "open" | "closed" = "open";
  #cancelPoll: (() => void) | undefined;
  /** Bytes given to the socket, as it counts them; and how many of them had left when that was looked at last. */
  #sentBytes = 0;
  #takenBytes = 0;
  #takenAtMs = 0;

  constructor(private readonly options: OutboxOptions) {}

  /** Whether what is sent now would have to wait. */
  get isBusy(): boolean {
    return this.#waiting.size > 0 || this.#roomBytes <= 0;
  }

  /** Of texts that wait: those of turns are made later. */
  get waitingChars(): number {
    return this.#waitingChars;
  }

  /** Resolves when the socket has taken the message, or is closed. */
  async send(text: string): Promise<void> {
    if (this.#state === "closed") return;
    if (!this.isBusy) return this.#write(() => [text]);
    this.#waitingChars += text.length;
    if (this.#waitingChars > waitingCharsMax) return this.#giveUp();
    await this.take(() => {
      this.#waitingChars -= text.length;
      return [text];
    });
  }

  /** Resolves when the messages of `turn` were sent, or the socket is closed. Rejects as `turn` throws. */
  async take(turn: Turn): Promise<void> {
    if (this.#state === "closed") return;
    if (!this.isBusy) return this.#write(turn);
    const promise = Promise.withResolvers<void>();
    if (this.#waiting.size === 0) this.#beginWait();
    this.#waiting.add({ turn, promise });
    await promise.promise;
  }

  /** Sends a message that nobody waits for. */
  post(text: string): void {
    if (this.#state === "closed") return;
    if (!this.isBusy) return this.#write(() => [text]);
    this.#postedChars += text.length;
    if (this.#postedChars > postedWindows * this.options.bytesMax) return this.#giveUp();
    // It cannot fail: sending a text does not.
    void this.take(() => {
      this.#postedChars -= text.length;
      return [text];
    });
  }

  /** Lets go of everything that waits. Safe to repeat. */
  close(): void {
    this.#state = "closed";
    this.#cancelPoll?.();
    this.#cancelPoll = undefined;
    for (const { promise } of this.#waiting) promise.resolve();
    this.#waiting.clear();
    this.#waitingChars = 0;
  }

  get #roomBytes(): number {
    return this.options.bytesMax - this.options.socket.bufferedAmount;
  }

  #write(turn: Turn): void {
    const { socket } = this.options;
    for (const text of turn(this.#roomBytes)) {
      if (socket.readyState !== WebSocket.OPEN) return;
      const before = socket.bufferedAmount;
      socket.send(text);
      this.#sentBytes += socket.bufferedAmount - before;
    }
  }

  #beginWait(): void {
    this.#takenBytes = this.#sentBytes - this.options.socket.bufferedAmount;
    this.#takenAtMs = this.options.clock.nowMs();
    this.#poll();
  }

  #poll(): void {
    this.#cancelPoll = this.options.clock.setTimer(() => this.#look(), pollMs);
  }

  #look(): void {
    const { socket, clock, timeoutMs } = this.options;
    const takenBytes = this.#sentBytes - socket.bufferedAmount;
    if (takenBytes > this.#takenBytes) {
      this.#takenBytes = takenBytes;
      this.#takenAtMs = clock.nowMs();
    }
    this.#flush();
    if (this.#waiting.size === 0) return;
    const wayMs = socket.bufferedAmount / slowestBytesPerSecond * 1_000;
    if (clock.nowMs() - this.#takenAtMs >= timeoutMs + wayMs) return this.#giveUp();
    this.#poll();
  }

  #flush(): void {
    for (const waiting of this.#waiting) {
      if (this.#roomBytes <= 0) return;
      this.#waiting.delete(waiting);
      try {
        this.#write(waiting.turn);
        waiting.promise.resolve();
      } catch (error) {
        waiting.promise.reject(error);
      }
    }
  }

  #giveUp(): void {
    this.close();
    this.options.tooSlow();
  }
}

/**
 * A frame is one message on a cell's socket: a length, an envelope, and bytes.
 *
 *     u32 length of the rest | u16 length of the envelope | envelope, JSON | body
 *
 * Integers are big-endian. The length is checked before a byte of the frame is kept, and memory grows with what
 * arrived: whatever was claimed, at most eight times as much is taken at any time, and a kilobyte. Pure: no I/O.
 *
 * @module
 */

export interface Frame {
  /** Parsed JSON, not yet checked against a schema. */
  readonly envelope: unknown;
  /** Owned by the receiver. */
  readonly body: Uint8Array<ArrayBuffer>;
}

/** The peer broke the framing. Its connection cannot be used any more. */
export class FrameError extends Error {
  override name = "FrameError";
}

const headBytes = 6;
const envelopeBytesMax = 65_535;
const partBytesMin = 1_024;
/** For a larger frame memory is taken as a whole, when one part of it in so many has come. */
const largeBytesMin = 1_048_576;
const partOfLarge = 7;
const emptyBody = new Uint8Array(0);

/** Throws {@linkcode FrameError} when the envelope or the frame is above its limit. */
export function encodeFrame(
  envelope: unknown,
  body: Uint8Array = emptyBody,
  frameBytesMax = Infinity,
): Uint8Array<ArrayBuffer> {
  const json = JSON.stringify(envelope);
  // At most three bytes of UTF-8 for each UTF-16 code unit.
  const frame = new Uint8Array(headBytes + json.length * 3 + body.length);
  const { written } = encoder.encodeInto(json, frame.subarray(headBytes));
  if (written > envelopeBytesMax) {
    throw new FrameError(
      `Cannot send a frame: its envelope has ${written} bytes, at most ${envelopeBytesMax} fit`,
    );
  }
  const length = 2 + written + body.length;
  if (length > frameBytesMax) {
    throw new FrameError(`Cannot send a frame of ${length} bytes: at most ${frameBytesMax} are allowed`);
  }
  frame.set(body, headBytes + written);
  frame[0] = length >>> 24;
  frame[1] = length >>> 16;
  frame[2] = length >>> 8;
  frame[3] = length;
  frame[4] = written >>> 8;
  frame[5] = written;
  return frame.subarray(0, headBytes + written + body.length);
}

const encoder = new TextEncoder();

/** Turns a stream of chunks into frames. */
export class FrameReader {
  readonly #decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  #pending: Uint8Array[] = [];
  #pendingBytes = 0;
  #neededBytes = headBytes;
  /** Of a large frame, as soon as some of it has come: its bytes go to where they stay. */
  #large: { readonly bytes: Uint8Array<ArrayBuffer>; filled: number } | undefined;

  constructor(readonly frameBytesMax: number) {}

  /** Bytes held for a frame that is not yet whole. */
  get heldBytes(): number {
    return this.#large?.filled ?? this.#pendingBytes;
  }

  /** Bytes that are known to come before that frame is whole. */
  get lackedBytes(): number {
    if (this.#large !== undefined) return this.#large.bytes.length - this.#large.filled;
    return this.#pendingBytes === 0 ? 0 : Math.max(0, this.#neededBytes - this.#pendingBytes);
  }

  /**
   * Takes a chunk, which may be reused afterwards, and returns the frames it completes.
   * Throws {@linkcode FrameError}.
   */
  push(chunk: Uint8Array): Frame[] {
    const frames: Frame[] = [];
    let bytes = chunk;
    if (this.#large !== undefined) {
      const large = this.#large;
      const taken = chunk.subarray(0, large.bytes.length - large.filled);
      large.bytes.set(taken, large.filled);
      large.filled += taken.length;
      if (large.filled < large.bytes.length) return frames;
      frames.push(this.#frame(large.bytes, true));
      this.#large = undefined;
      bytes = chunk.subarray(taken.length);
    } else if (this.#pendingBytes > 0) {
      this.#hold(chunk);
      // The head tells how much is needed, so a large frame is joined once and not at each chunk.
      if (this.#neededBytes <= headBytes && this.#pendingBytes >= 4) {
        this.#pending = [this.#joined()];
        this.#neededBytes = this.#frameBytes(this.#pending[0]);
      }
      if (this.#pendingBytes < this.#neededBytes) {
        if (this.#neededBytes > largeBytesMin && this.#pendingBytes >= this.#neededBytes / partOfLarge) {
          this.#beginLarge();
        }
        return frames;
      }
      bytes = this.#joined();
      this.#pending = [];
      this.#pendingBytes = 0;
    }
    let at = 0;
    this.#neededBytes = headBytes;
    while (bytes.length - at >= 4) {
      this.#neededBytes = this.#frameBytes(bytes.subarray(at));
      if (bytes.length - at < this.#neededBytes) break;
      frames.push(this.#frame(bytes.subarray(at, at + this.#neededBytes), false));
      at += this.#neededBytes;
      this.#neededBytes = headBytes;
    }
    if (at < bytes.length) this.#hold(bytes.subarray(at));
    return frames;
  }

  /** Joined at its end it would hold up everybody: new memory is cleared as it is written. */
  #beginLarge(): void {
    const bytes = new Uint8Array(this.#neededBytes);
    let filled = 0;
    for (const part of this.#pending) {
      bytes.set(part, filled);
      filled += part.length;
    }
    this.#large = { bytes, filled };
    this.#pending = [];
    this.#pendingBytes = 0;
  }

  /** Fills the last part before it begins another: a part for each chunk of one byte would weigh a hundred. */
  #hold(chunk: Uint8Array): void {
    this.#pendingBytes += chunk.length;
    let rest = chunk;
    const last = this.#pending.at(-1);
    if (last !== undefined) {
      const taken = rest.subarray(0, last.buffer.byteLength - last.byteOffset - last.length);
      const grown = new Uint8Array(last.buffer, last.byteOffset, last.length + taken.length);
      grown.set(taken, last.length);
      this.#pending[this.#pending.length - 1] = grown;
      rest = rest.subarray(taken.length);
    }
    if (rest.length === 0) return;
    const part = new Uint8Array(Math.max(rest.length, partBytesMin));
    part.set(rest);
    this.#pending.push(part.subarray(0, rest.length));
  }

  #joined(): Uint8Array {
    const [first] = this.#pending;
    if (this.#pending.length === 1 && first !== undefined) return first;
    const joined = new Uint8Array(this.#pendingBytes);
    let at = 0;
    for (const part of this.#pending) {
      joined.set(part, at);
      at += part.length;
    }
    return joined;
  }

  #frameBytes(head: Uint8Array): number {
    const [a = 0, b = 0, c = 0, d = 0] = head;
    const length = a * 0x1000000 + (b << 16) + (c << 8) + d;
    if (length > this.frameBytesMax) {
      throw new FrameError(
        `Cannot take a frame of ${length} bytes: at most ${this.frameBytesMax} are allowed`,
      );
    }
    if (length < 2) throw new FrameError(`Cannot take a frame of ${length} bytes: it has no envelope`);
    return 4 + length;
  }

  #frame(bytes: Uint8Array, isOwned: boolean): Frame {
    const envelopeEnd = headBytes + (bytes[4] ?? 0) * 256 + (bytes[5] ?? 0);
    if (envelopeEnd > bytes.length) {
      throw new FrameError("Cannot take a frame: its envelope is longer than the frame");
    }
    try {
      const envelope: unknown = JSON.parse(this.#decoder.decode(bytes.subarray(headBytes, envelopeEnd)));
      const body = isOwned
        ? bytes.subarray(envelopeEnd) as Uint8Array<ArrayBuffer>
        : bytes.slice(envelopeEnd);
      return { envelope, body };
    } catch (cause) {
      throw new FrameError("Cannot take a frame: its envelope is not JSON", { cause });
    }
  }
}

/**
 * Whether bytes are the UTF-8 text of exactly one JSON value (RFC 8259), as `JSON.parse` has it.
 *
 * `JSON.parse` builds what it reads, and bytes that a stranger chose can make that costly: 16 MB of `{},` are
 * five million objects, which take a second and 600 MB. Where the value is not wanted, only that it is one, this
 * reads the bytes once and keeps a bit for each level of nesting. Pure.
 *
 * @module
 */
import { isUtf8 } from "node:buffer";

const quote = 0x22;
const backslash = 0x5c;
const comma = 0x2c;
const colon = 0x3a;
const [openArray, closeArray] = [0x5b, 0x5d];
const [openObject, closeObject] = [0x7b, 0x7d];

export function isJson(bytes: Uint8Array): boolean {
  return isUtf8(bytes) && new Scanner(bytes).isOneValue();
}

/** Every method reads from `#at` on. The ones that return a boolean have read what they are named for, or fail. */
class Scanner {
  readonly #bytes: Uint8Array;
  #at = 0;
  #depth = 0;
  /** Bit by level: 1 is an object, 0 an array. Grows with what arrived. */
  #levels = new Uint8Array(16);

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  isOneValue(): boolean {
    for (;;) {
      this.#skipSpace();
      const byte = this.#bytes[this.#at];
      if (byte === openArray || byte === openObject) {
        this.#at++;
        this.#push(byte === openObject);
        this.#skipSpace();
        if (this.#bytes[this.#at] === this.#closing()) this.#pop();
        else if (byte === openArray || this.#key()) continue;
        else return false;
      } else if (!this.#scalar(byte)) return false;
      // A value has ended. What follows ends others with it, or begins the next one.
      for (;;) {
        this.#skipSpace();
        if (this.#depth === 0) return this.#at === this.#bytes.length;
        if (this.#bytes[this.#at] !== this.#closing()) break;
        this.#pop();
      }
      if (this.#bytes[this.#at++] !== comma) return false;
      if (this.#closing() === closeObject && !this.#key()) return false;
    }
  }

  #push(isObject: boolean): void {
    const index = this.#depth >> 3;
    if (index === this.#levels.length) {
      const grown = new Uint8Array(this.#levels.length * 2);
      grown.set(this.#levels);
      this.#levels = grown;
    }
    const bit = 1 << (this.#depth & 7);
    const level = this.#levels[index] ?? 0;
    this.#levels[index] = isObject ? level | bit : level & ~bit;
    this.#depth++;
  }

  #pop(): void {
    this.#at++;
    this.#depth--;
  }

  /** The byte that closes the innermost array or object. */
  #closing(): number {
    const level = this.#depth - 1;
    return ((this.#levels[level >> 3] ?? 0) >> (level & 7)) & 1 ? closeObject : closeArray;
  }

  #skipSpace(): void {
    const bytes = this.#bytes;
    let at = this.#at;
    for (let byte = bytes[at]; byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;) {
      byte = bytes[++at];
    }
    this.#at = at;
  }

  /** A name and its colon. */
  #key(): boolean {
    this.#skipSpace();
    if (this.#bytes[this.#at] !== quote || !this.#string()) return false;
    this.#skipSpace();
    return this.#bytes[this.#at++] === colon;
  }

  #scalar(byte: number | undefined): boolean {
    switch (byte) {
      case quote:
        return this.#string();
      case 0x74:
        return this.#literal("true");
      case 0x66:
        return this.#literal("false");
      case 0x6e:
        return this.#literal("null");
      default:
        return this.#number();
    }
  }

  #literal(word: string): boolean {
    for (let index = 0; index < word.length; index++) {
      if (this.#bytes[this.#at++] !== word.charCodeAt(index)) return false;
    }
    return true;
  }

  #string(): boolean {
    const bytes = this.#bytes;
    for (let at = this.#at + 1; at < bytes.length; at++) {
      const byte = bytes[at] ?? 0;
      if (byte === quote) {
        this.#at = at + 1;
        return true;
      }
      if (byte < 0x20) return false;
      if (byte !== backslash) continue;
      at++;
      if (bytes[at] !== 0x75) {
        if (!isEscape(bytes[at])) return false;
      } else if ([1, 2, 3, 4].every((offset) => isHexDigit(bytes[at + offset]))) at += 4;
      else return false;
    }
    return false;
  }

  #number(): boolean {
    if (this.#bytes[this.#at] === 0x2d) this.#at++;
    if (this.#bytes[this.#at] === 0x30) this.#at++;
    else if (!this.#digits()) return false;
    if (this.#bytes[this.#at] === 0x2e) {
      this.#at++;
      if (!this.#digits()) return false;
    }
    const byte = this.#bytes[this.#at];
    if (byte !== 0x65 && byte !== 0x45) return true;
    this.#at++;
    const sign = this.#bytes[this.#at];
    if (sign === 0x2b || sign === 0x2d) this.#at++;
    return this.#digits();
  }

  /** At least one. */
  #digits(): boolean {
    const start = this.#at;
    while (isDigit(this.#bytes[this.#at])) this.#at++;
    return this.#at > start;
  }
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 0x30 && byte <= 0x39;
}

function isHexDigit(byte: number | undefined): boolean {
  if (byte === undefined) return false;
  return isDigit(byte) || ((byte | 0x20) >= 0x61 && (byte | 0x20) <= 0x66);
}

/** One of `"\/bfnrt`. */
function isEscape(byte: number | undefined): boolean {
  switch (byte) {
    case quote:
    case backslash:
    case 0x2f:
    case 0x62:
    case 0x66:
    case 0x6e:
    case 0x72:
    case 0x74:
      return true;
    default:
      return false;
  }
}

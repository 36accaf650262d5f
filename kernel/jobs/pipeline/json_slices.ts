/**
 * A JSON slice is the part of a JSON text that a pointer leads to.
 *
 * All pointers are followed in one pass over the text, and nothing is made of the rest: a text that somebody chose to
 * be millions of small objects costs no more than any other of its length. Of members with the same name the last
 * counts, as for JSON.parse. Of a text that is no JSON some part comes out, or none. Pure.
 *
 * @module
 */

/** What stands at one place of the text is wanted, or parts of it. */
interface Wanted {
  readonly members: Map<string, Wanted>;
  /** When it was last seen, and when what it is a member of was seen then: a later one of the same name undoes it. */
  seen: number;
  seenIn: number;
  start: number;
  end: number;
}

const quote = 0x22;
const comma = 0x2c;
const colon = 0x3a;
const [openArray, closeArray, openObject, closeObject] = [0x5b, 0x5d, 0x7b, 0x7d];

/** The texts that JSON Pointers (RFC 6901) lead to; those that lead nowhere are left out. */
export function findSlices(text: string, pointers: Iterable<string>): Map<string, string> {
  const root = createWanted();
  const ends = [...pointers].map((pointer) => ({ pointer, way: wayOf(root, pointer) }));
  new Scan(text).value(0, root, 0);
  const found = new Map<string, string>();
  for (const { pointer, way } of ends) {
    const isThere = way.every(({ seen, seenIn }, index) =>
      seen > 0 && seenIn === (way[index - 1]?.seen ?? 0)
    );
    const last = way.at(-1);
    if (isThere && last !== undefined) found.set(pointer, text.slice(last.start, last.end).trimEnd());
  }
  return found;
}

function createWanted(): Wanted {
  return { members: new Map(), seen: 0, seenIn: 0, start: 0, end: 0 };
}

function wayOf(root: Wanted, pointer: string): Wanted[] {
  const way = [root];
  let at = root;
  for (const token of pointer.split("/").slice(1)) {
    const name = token.replaceAll("~1", "/").replaceAll("~0", "~");
    at = at.members.getOrInsertComputed(name, createWanted);
    way.push(at);
  }
  return way;
}

class Scan {
  #seen = 0;

  constructor(private readonly text: string) {}

  /** Recursive, as deep as a pointer. Returns where the value ends. */
  value(start: number, wanted: Wanted, seenIn: number): number {
    const from = this.#skipSpace(start);
    const code = this.text.charCodeAt(from);
    const seen = this.#seen += 1;
    let end: number;
    if (wanted.members.size > 0 && code === openArray) end = this.#items(from + 1, wanted, seen);
    else if (wanted.members.size > 0 && code === openObject) end = this.#members(from + 1, wanted, seen);
    else end = this.#skipValue(from);
    Object.assign(wanted, { seen, seenIn, start: from, end });
    return end;
  }

  #items(start: number, { members }: Wanted, seen: number): number {
    const { text } = this;
    const items = new Map<number, Wanted>();
    for (const [name, item] of members) if (/^(?:0|[1-9][0-9]*)$/.test(name)) items.set(Number(name), item);
    let at = this.#skipSpace(start);
    if (text.charCodeAt(at) === closeArray) return at + 1;
    for (let index = 0; at < text.length; index++) {
      const item = items.get(index);
      at = this.#skipSpace(item === undefined ? this.#skipValue(at) : this.value(at, item, seen));
      if (text.charCodeAt(at) !== comma) return at + 1;
      at = this.#skipSpace(at + 1);
    }
    return at;
  }

  #members(start: number, { members }: Wanted, seen: number): number {
    const { text } = this;
    let at = this.#skipSpace(start);
    while (text.charCodeAt(at) === quote) {
      const end = this.#skipString(at);
      const raw = text.slice(at, end);
      const name = raw.includes("\\") ? String(JSON.parse(raw)) : raw.slice(1, -1);
      at = this.#skipSpace(end);
      if (text.charCodeAt(at) !== colon) return at + 1;
      at = this.#skipSpace(at + 1);
      const member = members.get(name);
      at = this.#skipSpace(member === undefined ? this.#skipValue(at) : this.value(at, member, seen));
      if (text.charCodeAt(at) !== comma) return at + 1;
      at = this.#skipSpace(at + 1);
    }
    return at + 1;
  }

  /** To the end of the value, or of the space behind it. */
  #skipValue(start: number): number {
    const { text } = this;
    let depth = 0;
    for (let at = start; at < text.length; at++) {
      const code = text.charCodeAt(at);
      if (code === quote) {
        at = this.#skipString(at) - 1;
        if (depth === 0) return at + 1;
      } else if (code === openArray || code === openObject) depth++;
      else if (code === closeArray || code === closeObject) {
        if (depth === 0) return at;
        depth--;
        if (depth === 0) return at + 1;
      } else if (code === comma && depth === 0) return at;
    }
    return text.length;
  }

  /** `start`: of its opening quote. */
  #skipString(start: number): number {
    const { text } = this;
    for (let at = start + 1;;) {
      const end = text.indexOf('"', at);
      if (end === -1) return text.length;
      let slashes = 0;
      while (text[end - 1 - slashes] === "\\") slashes++;
      if (slashes % 2 === 0) return end + 1;
      at = end + 1;
    }
  }

  #skipSpace(start: number): number {
    let at = start;
    for (let code = this.text.charCodeAt(at); code === 0x20 || (code >= 0x09 && code <= 0x0d);) {
      code = this.text.charCodeAt(at += 1);
    }
    return at;
  }
}

/**
 * Whether bytes are the UTF-8 text of exactly one JSON value (RFC 8259), as `JSON.parse` has it.
 *
 * `JSON.parse` builds what it reads, and bytes that a stranger chose can make that costly: 16 MB of `{},` are
 * five million objects, which take a second and 600 MB. Where the value is not wanted, only that it is one, this
 * reads the bytes once and keeps a bit for each level of nesting. It may do so in pieces, so that nobody has to wait
 * for the end of a long text. Pure.
 *
 * @module
 */
import { isUtf8 } from "node:buffer";

export function isJson(bytes: Uint8Array): boolean {
  const scan = new JsonScan();
  return isUtf8(bytes) && scan.take(bytes) && scan.isWhole();
}

/** What a byte does that is more than a change of state. They are numbered from above all states. */
const firstAct = 64;
const act = { openArray: 64, openObject: 65, closeArray: 66, closeObject: 67, comma: 68, fault: 69 } as const;

type Rule = readonly [state: string, bytes: string, next: string | number];

const space = " \t\n\r";
const nonZero = "123456789";
const digits = `0${nonZero}`;
const hexDigits = `${digits}abcdefABCDEF`;
const literals = ["true", "false", "null"];

/** A text in quotes, after which comes `after`. */
function rulesOfString(state: string, after: string): Rule[] {
  const hex = [4, 3, 2, 1].map((left) => `${state} hex ${left}`);
  return [
    [state, '"', after],
    [state, "\\", `${state} escape`],
    [`${state} escape`, '"\\/bfnrt', state],
    [`${state} escape`, "u", hex[0] ?? ""],
    ...hex.map((name, index): Rule => [name, hexDigits, hex[index + 1] ?? state]),
  ];
}

/** What may stand where a value begins. */
function rulesOfValue(state: string): Rule[] {
  return [
    [state, space, state],
    [state, '"', "string"],
    [state, "[", act.openArray],
    [state, "{", act.openObject],
    [state, "-", "minus"],
    [state, "0", "zero"],
    [state, nonZero, "integer"],
    ...literals.map((word): Rule => [state, word[0] ?? "", `literal ${word[0]}`]),
  ];
}

function rulesOfLiteral(word: string): Rule[] {
  return [...word].slice(1).map((letter, index): Rule => {
    const read = word.slice(0, index + 2);
    return [`literal ${word.slice(0, index + 1)}`, letter, read === word ? "value end" : `literal ${read}`];
  });
}

/** What may follow a value: also a number, whose end nothing else shows. */
function rulesOfEnd(state: string): Rule[] {
  return [
    [state, space, "value end"],
    [state, ",", act.comma],
    [state, "]", act.closeArray],
    [state, "}", act.closeObject],
  ];
}

const endStates = ["value end", "zero", "integer", "fraction", "exponent digits"];

const rules: readonly Rule[] = [
  ...rulesOfValue("value"),
  ...rulesOfValue("first value"),
  ["first value", "]", act.closeArray],
  ["name", space, "name"],
  ["name", '"', "name text"],
  ["first name", space, "first name"],
  ["first name", '"', "name text"],
  ["first name", "}", act.closeObject],
  ...rulesOfString("name text", "colon"),
  ["colon", space, "colon"],
  ["colon", ":", "value"],
  ...rulesOfString("string", "value end"),
  ...literals.flatMap(rulesOfLiteral),
  ...endStates.flatMap(rulesOfEnd),
  ["minus", "0", "zero"],
  ["minus", nonZero, "integer"],
  ["integer", digits, "integer"],
  ...["zero", "integer"].flatMap((state): Rule[] => [[state, ".", "point"], [state, "eE", "exponent"]]),
  ["point", digits, "fraction"],
  ["fraction", digits, "fraction"],
  ["fraction", "eE", "exponent"],
  ["exponent", "+-", "exponent sign"],
  ...["exponent", "exponent sign", "exponent digits"].map((
    state,
  ): Rule => [state, digits, "exponent digits"]),
];

const names = [...new Set(rules.map(([state]) => state))];
const stateOf = (name: string) => names.indexOf(name);
const [valueState, firstValue, firstName] = ["value", "first value", "first name"].map(stateOf) as [
  number,
  number,
  number,
];
const [nameState, valueEnd] = ["name", "value end"].map(stateOf) as [number, number];
const lastStates: ReadonlySet<number> = new Set(endStates.map(stateOf));

/** For each state, what each byte does in it. */
const table = new Uint8Array(names.length << 8).fill(act.fault);
for (const state of ["name text", "string"].map(stateOf)) {
  table.fill(state, state << 8 | 0x20, (state + 1) << 8);
}
for (const [state, bytes, next] of rules) {
  for (const byte of new TextEncoder().encode(bytes)) {
    table[stateOf(state) << 8 | byte] = typeof next === "string" ? stateOf(next) : next;
  }
}

/** Reads a text that may come in pieces. Whether it is UTF-8 is for others to say. */
export class JsonScan {
  #state = valueState;
  #depth = 0;
  #isObject = false;
  /** Bit by level: 1 is an object, 0 an array. Grows with what arrived. */
  #levels = new Uint8Array(16);

  /** The next piece. False when no JSON text goes on like that; then nothing more is to be asked. */
  take(bytes: Uint8Array, from = 0, to = bytes.length): boolean {
    let state = this.#state;
    for (let at = from; at < to; at++) {
      // Within both: `as` instead of a check in the hottest loop.
      const next = table[state << 8 | (bytes[at] as number)] as number;
      state = next < firstAct ? next : this.#act(next);
      if (state === act.fault) return false;
    }
    this.#state = state;
    return true;
  }

  /** Whether the pieces so far are one value. */
  isWhole(): boolean {
    return this.#depth === 0 && lastStates.has(this.#state);
  }

  /** The state after it, or a fault. */
  #act(code: number): number {
    switch (code) {
      case act.openArray:
        return this.#open(false);
      case act.openObject:
        return this.#open(true);
      case act.comma:
        if (this.#depth === 0) return act.fault;
        return this.#isObject ? nameState : valueState;
      case act.closeArray:
        return this.#close(false);
      case act.closeObject:
        return this.#close(true);
      default:
        return act.fault;
    }
  }

  #open(isObject: boolean): number {
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
    this.#isObject = isObject;
    return isObject ? firstName : firstValue;
  }

  #close(isObject: boolean): number {
    if (this.#depth === 0 || this.#isObject !== isObject) return act.fault;
    const level = --this.#depth - 1;
    this.#isObject = level >= 0 && ((this.#levels[level >> 3] ?? 0) >> (level & 7) & 1) === 1;
    return valueEnd;
  }
}

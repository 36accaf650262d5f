/**
 * A value is the text of one CSV field, seen as the narrowest type that fits it.
 *
 * Texts that only look like numbers stay strings: `007` is a code, not seven, and digits beyond what a
 * double holds exactly are a number but not an integer.
 *
 * This runs once for each field, and is most of the time of a profile: hence characters by their codes, and
 * one object that is read again and again.
 *
 * @module
 */

/** Types of a value that is not missing. */
export const kinds = ["integer", "number", "boolean", "date", "datetime", "string"] as const;
export type Kind = (typeof kinds)[number];

/** Digits that any integer of so many digits is exact in, as a double. */
const exactDigits = 15;

/** No text longer than this is anything but a string. */
const shortMax = 40;

const number = /^[+-]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$/;
const boolean = /^(?:true|false)$/i;

/** A reader of values: `kind` and `number` are those of the text it read last. */
export class ValueReader {
  kind: Kind = "string";
  /** Of an integer or number, itself; of a date or datetime, the milliseconds since 1970. */
  number = NaN;

  /** `text` must be trimmed and not empty. */
  read(text: string): void {
    this.kind = "string";
    if (text.length > shortMax) return;
    const first = text.charCodeAt(0);
    if (isDigit(first)) {
      if (!this.#readInteger(text, 0) && !this.#readNumber(text)) this.#readInstant(text);
    } else if (first === code("-") || first === code("+")) {
      if (!this.#readInteger(text, 1)) this.#readNumber(text);
    } else if (first === code(".")) {
      this.#readNumber(text);
    } else if (first === code("t") || first === code("T") || first === code("f") || first === code("F")) {
      if (boolean.test(text)) this.kind = "boolean";
    }
  }

  #readInteger(text: string, from: number): boolean {
    const length = text.length - from;
    if (length < 1 || length > exactDigits) return false;
    if (length > 1 && text.charCodeAt(from) === code("0")) return false;
    const value = digits(text, from, length);
    if (Number.isNaN(value)) return false;
    this.kind = "integer";
    this.number = text.charCodeAt(0) === code("-") ? 0 - value : value;
    return true;
  }

  #readNumber(text: string): boolean {
    if (!number.test(text)) return false;
    const value = Number(text);
    if (!Number.isFinite(value)) return false;
    this.kind = "number";
    this.number = value;
    return true;
  }

  #readInstant(text: string): void {
    const ms = instantMs(text);
    if (Number.isNaN(ms)) return;
    this.kind = text.length === dateLength ? "date" : "datetime";
    this.number = ms;
  }
}

const dateLength = "2026-01-31".length;
const dayMs = 86_400_000;

/**
 * The instant of a date or datetime (ISO 8601) in milliseconds since 1970; NaN if `text` is neither, or is
 * a day or time that does not exist. Without an offset it is taken as UTC, so that the answer does not
 * depend on the machine.
 */
export function instantMs(text: string): number {
  if (text.charCodeAt(4) !== code("-") || text.charCodeAt(7) !== code("-")) return NaN;
  const midnightMs = daysSince1970(digits(text, 0, 4), digits(text, 5, 2), digits(text, 8, 2)) * dayMs;
  if (text.length === dateLength) return midnightMs;
  const separator = text.charCodeAt(dateLength);
  if (separator !== code("T") && separator !== code(" ")) return NaN;
  return midnightMs + timeMs(text, dateLength + 1);
}

const zone = /^(\.[0-9]{1,9})?(?:Z|([+-])([01][0-9]|2[0-3]):?([0-5][0-9]))?$/;

/** Milliseconds since midnight, UTC, of `hh:mm`, `hh:mm:ss` or `hh:mm:ss.s`, with or without an offset. */
function timeMs(text: string, from: number): number {
  const hour = digits(text, from, 2);
  const minute = digits(text, from + 3, 2);
  const hasSecond = text.charCodeAt(from + 5) === code(":");
  const second = hasSecond ? digits(text, from + 6, 2) : 0;
  const known = text.charCodeAt(from + 2) === code(":") && hour <= 23 && minute <= 59 && second <= 59;
  if (!known) return NaN;
  const ms = ((hour * 60 + minute) * 60 + second) * 1_000;
  const end = from + (hasSecond ? 8 : 5);
  if (end === text.length || (end + 1 === text.length && text.charCodeAt(end) === code("Z"))) return ms;
  const match = zone.exec(text.slice(end));
  if (match === null) return NaN;
  const [, fraction = 0, sign, offsetHour = 0, offsetMinute = 0] = match;
  const offsetMs = (Number(offsetHour) * 60 + Number(offsetMinute)) * 60_000;
  return ms + Number(fraction) * 1_000 - (sign === "-" ? -offsetMs : offsetMs);
}

const monthDays = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/**
 * Days of the Gregorian calendar; NaN for a day that does not exist. Counts from a March, which puts the
 * leap day last: http://howardhinnant.github.io/date_algorithms.html#days_from_civil
 */
function daysSince1970(year: number, month: number, day: number): number {
  const leapDay = month === 2 && year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 1 : 0;
  if (!(day >= 1 && day <= (monthDays[month - 1] ?? NaN) + leapDay)) return NaN;
  const years = month <= 2 ? year - 1 : year;
  const leapDays = Math.floor(years / 4) - Math.floor(years / 100) + Math.floor(years / 400);
  const dayOfYear = Math.floor((153 * ((month + 9) % 12) + 2) / 5) + day - 1;
  return years * 365 + leapDays + dayOfYear - 719_468;
}

/** The number that `count` ASCII digits spell; NaN if another character is among them. */
function digits(text: string, from: number, count: number): number {
  let value = 0;
  for (let index = from; index < from + count; index++) {
    const character = text.charCodeAt(index);
    if (!isDigit(character)) return NaN;
    value = value * 10 + character - code("0");
  }
  return value;
}

function isDigit(character: number): boolean {
  return character >= code("0") && character <= code("9");
}

function code(character: string): number {
  return character.charCodeAt(0);
}

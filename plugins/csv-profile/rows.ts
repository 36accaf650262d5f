/**
 * CSV rows: the fields of a CSV text that arrives in chunks, after RFC 4180.
 *
 * Beyond the RFC it takes LF, CRLF and CR line ends, and never gives up on a stray quote: it keeps the text
 * and counts the field as malformed.
 *
 * Invariants:
 * - the rows do not depend on where the text was cut into chunks;
 * - at most one unfinished row is held back, and it is bounded, so memory does not grow with the text.
 *
 * Pure.
 *
 * @module
 */

/** Longest row, in UTF-16 units. Past it the likely cause is a quote that is never closed. */
export const rowLengthMax = 1_048_576;

/** What stands between two fields. */
export type Delimiter = "," | ";" | "\t" | "|";

const quote = 0x22;
const lineFeed = 0x0a;
const carriageReturn = 0x0d;

/** Splits text into rows; calls `onRow` with the fields of each row that is not blank. */
export class CsvRows {
  blankLines = 0;
  malformedFields = 0;
  readonly #delimiter: number;
  readonly #onRow: (fields: readonly string[]) => void;
  #rest = "";
  #rows = 0;

  constructor(delimiter: Delimiter, onRow: (fields: readonly string[]) => void) {
    this.#delimiter = delimiter.charCodeAt(0);
    this.#onRow = onRow;
  }

  /** Takes the next chunk. Throws if a row is longer than {@linkcode rowLengthMax}. */
  push(chunk: string): void {
    const text = this.#rest + chunk;
    this.#rest = text.slice(this.#split(text, false));
    if (this.#rest.length > rowLengthMax) {
      throw new Error(
        `Cannot profile "row ${this.#rows + 1}": it is longer than ${rowLengthMax} characters` +
          (this.#rest.includes('"') ? "; a quote may not be closed" : ""),
      );
    }
  }

  /** Takes what is left: the last row may end without a line end. */
  end(): void {
    this.#split(this.#rest, true);
    this.#rest = "";
  }

  /** Emits the rows of `text` that are complete; returns where the unfinished one starts. */
  #split(text: string, last: boolean): number {
    let rowStart = 0;
    let position = 0;
    let fields: string[] = [];
    while (rowStart < text.length) {
      // One field. `end` is the index of the delimiter or line end after it.
      let end = position;
      let field: string;
      if (text.charCodeAt(position) === quote) {
        const close = findClosingQuote(text, position + 1);
        if (close === -1 && !last) return rowStart;
        const inside = text.slice(position + 1, close === -1 ? text.length : close);
        end = this.#findFieldEnd(text, close === -1 ? text.length : close + 1);
        field = inside.includes('"') ? inside.replaceAll('""', '"') : inside;
        if (close === -1) this.malformedFields++;
        else if (end > close + 1) {
          this.malformedFields++;
          field += text.slice(close + 1, end);
        }
      } else {
        end = this.#findFieldEnd(text, position);
        field = text.slice(position, end);
      }
      // Without the character after the field, a chunk cannot tell a whole field from half of one, nor a
      // CR from the first half of a CRLF.
      if (!last && end + 1 >= text.length && text.charCodeAt(end) !== lineFeed) return rowStart;
      fields.push(field);
      position = end + 1;
      if (end < text.length && text.charCodeAt(end) === this.#delimiter) {
        if (position < text.length || !last) continue;
        fields.push(""); // the text ends with a delimiter: one more field, empty
      } else if (text.charCodeAt(end) === carriageReturn && text.charCodeAt(position) === lineFeed) {
        position++;
      }
      const blank = fields.length === 1 && fields[0] === "" && end === rowStart;
      if (blank) this.blankLines++;
      else {
        this.#rows++;
        this.#onRow(fields);
      }
      fields = [];
      rowStart = position;
    }
    return rowStart;
  }

  #findFieldEnd(text: string, from: number): number {
    const delimiter = this.#delimiter;
    for (let index = from; index < text.length; index++) {
      const code = text.charCodeAt(index);
      if (code === delimiter || code === lineFeed || code === carriageReturn) return index;
    }
    return text.length;
  }
}

/** The index of the quote that closes a field, two in a row being one of its characters; -1 if there is none. */
function findClosingQuote(text: string, from: number): number {
  let index = text.indexOf('"', from);
  while (index !== -1 && text.charCodeAt(index + 1) === quote) index = text.indexOf('"', index + 2);
  return index;
}

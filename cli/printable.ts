/**
 * Printable text: what may reach a terminal.
 *
 * A ledger holds words of others, and a terminal obeys some characters: control characters (C1 among them) move
 * the cursor and set its title, bidirectional ones turn what follows around, U+2028 may be a new line. Each of
 * them is shown as JSON would escape it, so that JSON stays the JSON that it was.
 *
 * Pure.
 *
 * @module
 */

/** Control, format, surrogate, private and unassigned characters, and the separators of lines and paragraphs. */
const unprintable = /[\p{C}\p{Zl}\p{Zp}]/gu;

/** `text` in one line, without a character that a terminal obeys. */
export function toPrintable(text: string): string {
  return text.replace(unprintable, (character) => {
    const units = Array.from({ length: character.length }, (_, at) => character.charCodeAt(at));
    return units.map((unit) => `\\u${unit.toString(16).padStart(4, "0")}`).join("");
  });
}

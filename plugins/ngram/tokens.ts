/**
 * A token is a word, a number, a punctuation mark or a paragraph break, with the space before it.
 *
 * Since a token brings its own space, joined tokens are the text again. Pure.
 *
 * @module
 */

export const paragraphBreak = "\n\n";

const paragraph = /\n\s*\n/;
const token = / ?(?:\p{L}+(?:[’-]\p{L}+)*|\p{N}+|[^\s\p{L}\p{N}])/gu;

/** The tokens of `text`. Runs of white space count as one space, and typewriter apostrophes as real ones. */
export function tokenize(text: string): string[] {
  const tokens: string[] = [];
  for (const lines of text.replaceAll("\r\n", "\n").trim().split(paragraph)) {
    if (tokens.length > 0) tokens.push(paragraphBreak);
    tokens.push(...lines.trim().replaceAll(/\s+/g, " ").replaceAll("'", "’").match(token) ?? []);
  }
  return tokens;
}

/**
 * An n-gram model: how often each token followed each few tokens before it, in one text.
 *
 * Probabilities back off by absolute discounting: each seen continuation of a context gives up a fixed part
 * of its count, and what is given up is shared out as the next shorter context would. So every token has a
 * probability after every context, seen or not.
 *
 * Invariants:
 * - the text is padded with `order - 1` start tokens, so each of its tokens ends exactly one n-gram of full
 *   order, and the counts of all shorter contexts are sums of those. The file holds the longest only;
 * - the same file and context give the same distribution, bit for bit.
 *
 * Pure.
 *
 * @module
 */

export const startId = 0;
export const endId = 1;

/** What each seen continuation gives up, in counts. */
const discount = 0.5;

/** The contents of `model.json`. Long strings, so that a formatter has nothing to rearrange. */
export interface ModelFile {
  format: "airlock-ngram-1";
  order: number;
  source: string;
  /** Of the bytes of the text. */
  sourceSha256: string;
  /** Joined by tabs; a token's index is its id. */
  vocabulary: string;
  /** base64 of little-endian 16-bit numbers: for each n-gram its ids and its count. */
  ngrams: string;
}

export interface ModelInfo {
  order: number;
  vocabulary: number;
  ngrams: number;
  source: string;
  sourceSha256: string;
}

/** What followed one context. */
interface Continuations {
  total: number;
  readonly counts: Map<number, number>;
}

export class Model {
  readonly info: ModelInfo;
  readonly vocabulary: readonly string[];
  readonly #ids: ReadonlyMap<string, number>;
  /** By length of the context, then by the context. */
  readonly #tables: readonly Map<number, Continuations>[];

  constructor(file: ModelFile) {
    const { order, source, sourceSha256 } = file;
    this.vocabulary = file.vocabulary.split("\t");
    this.#ids = new Map(this.vocabulary.map((token, id) => [token, id]));
    this.#tables = Array.from({ length: order }, () => new Map());
    const numbers = decodeNumbers(file.ngrams);
    const width = order + 1;
    if (numbers.length % width !== 0) throw new Error('Cannot load "model.json": its n-grams are cut short');
    for (let at = 0; at < numbers.length; at += width) {
      this.#count(numbers.slice(at, at + order), numbers[at + order] ?? 0);
    }
    const ngrams = numbers.length / width;
    this.info = { order, vocabulary: this.vocabulary.length, ngrams, source, sourceSha256 };
  }

  #count(ngram: readonly number[], count: number): void {
    const token = ngram.at(-1) ?? endId;
    for (const [length, table] of this.#tables.entries()) {
      const key = this.#key(ngram.slice(ngram.length - 1 - length, -1));
      let continuations = table.get(key);
      if (continuations === undefined) {
        continuations = { total: 0, counts: new Map() };
        table.set(key, continuations);
      }
      continuations.total += count;
      continuations.counts.set(token, (continuations.counts.get(token) ?? 0) + count);
    }
  }

  /** Contexts of one length as one number. */
  #key(context: readonly number[]): number {
    return context.reduce((key, id) => key * this.vocabulary.length + id, 0);
  }

  /**
   * The context in which a text goes on after `tokens`. A word that the model does not know ends what it
   * can look back to.
   */
  contextOf(tokens: readonly string[]): number[] {
    const context: number[] = [];
    for (const token of tokens.slice(1 - this.info.order).reverse()) {
      const id = this.#idOf(token);
      if (id === undefined) return context;
      context.unshift(id);
    }
    while (context.length < this.info.order - 1) context.unshift(startId);
    return context;
  }

  /** A word in another case, or without its space, is better than none. */
  #idOf(token: string): number | undefined {
    const word = token.trimStart();
    for (const form of [token, word, ` ${word}`, word.toLowerCase(), ` ${word.toLowerCase()}`]) {
      const id = this.#ids.get(form);
      if (id !== undefined) return id;
    }
    return undefined;
  }

  /** The probability of each token after `context`, by id. They sum up to 1, but for rounding. */
  distribution(context: readonly number[]): Float64Array {
    const probabilities = new Float64Array(this.vocabulary.length).fill(1 / (this.vocabulary.length - 1));
    probabilities[startId] = 0;
    for (const [length, table] of this.#tables.entries()) {
      if (length > context.length) break;
      const continuations = table.get(this.#key(context.slice(context.length - length)));
      if (continuations === undefined) break;
      const { total, counts } = continuations;
      const givenUp = discount * counts.size / total;
      for (let id = 0; id < probabilities.length; id++) {
        probabilities[id] = (probabilities[id] ?? 0) * givenUp;
      }
      for (const [id, count] of counts) {
        probabilities[id] = (probabilities[id] ?? 0) + (count - discount) / total;
      }
    }
    return probabilities;
  }
}

/** Throws if `text` is not a model file. */
export function parseModelFile(text: string): ModelFile {
  const file: unknown = JSON.parse(text);
  if (
    typeof file === "object" && file !== null &&
    "format" in file && file.format === "airlock-ngram-1" &&
    "order" in file && typeof file.order === "number" &&
    "source" in file && typeof file.source === "string" &&
    "sourceSha256" in file && typeof file.sourceSha256 === "string" &&
    "vocabulary" in file && typeof file.vocabulary === "string" &&
    "ngrams" in file && typeof file.ngrams === "string"
  ) {
    const { format, order, source, sourceSha256, vocabulary, ngrams } = file;
    return { format, order, source, sourceSha256, vocabulary, ngrams };
  }
  throw new Error('Cannot load "model.json": it is not an n-gram model of format 1');
}

export function encodeNumbers(numbers: readonly number[]): string {
  const bytes = new Uint8Array(numbers.length * 2);
  const view = new DataView(bytes.buffer);
  for (const [index, number] of numbers.entries()) {
    if (number > 0xffff) throw new RangeError(`Cannot write "${number}": it has more than 16 bits`);
    view.setUint16(index * 2, number, true);
  }
  return bytes.toBase64();
}

function decodeNumbers(base64: string): number[] {
  const bytes = Uint8Array.fromBase64(base64);
  const view = new DataView(bytes.buffer);
  return Array.from({ length: bytes.length / 2 }, (_, index) => view.getUint16(index * 2, true));
}

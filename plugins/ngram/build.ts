/**
 * The build of `model.json` from `alice.txt`. Run it after a change to either the text or the model:
 *
 *     deno run --allow-read=. --allow-write=plugins/ngram/model.json plugins/ngram/build.ts
 *
 * The text is Lewis Carroll, Alice's Adventures in Wonderland (1865), chapters I and II without headings
 * and verse, in the public domain. Text and build are part of the package, so that whoever has the model
 * can make it again.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { encodeNumbers, endId, type ModelFile, startId } from "./model.ts";
import { tokenize } from "./tokens.ts";

const order = 3;
const source = "Lewis Carroll, Alice's Adventures in Wonderland (1865), chapters I and II; public domain";

/** The same text always gives the same model. */
export function buildModel(text: string): ModelFile {
  const tokens = tokenize(text);
  const vocabulary = ["<start>", "<end>", ...new Set(tokens)];
  const ids = new Map(vocabulary.map((token, id) => [token, id]));
  const padding = new Array<number>(order - 1).fill(startId);
  const sequence = [...padding, ...tokens.map((token) => ids.get(token) ?? endId), endId];
  const ngrams = new Map<string, { ngram: number[]; count: number }>();
  for (let end = order; end <= sequence.length; end++) {
    const ngram = sequence.slice(end - order, end);
    const key = ngram.join(" ");
    ngrams.set(key, { ngram, count: (ngrams.get(key)?.count ?? 0) + 1 });
  }
  return {
    format: "airlock-ngram-1",
    order,
    source,
    sourceSha256: createHash("sha256").update(text).digest("hex"),
    vocabulary: vocabulary.join("\t"),
    ngrams: encodeNumbers([...ngrams.values()].flatMap(({ ngram, count }) => [...ngram, count])),
  };
}

/** The text of `model.json`. */
export function formatModel(file: ModelFile): string {
  return `${JSON.stringify(file, null, 2)}\n`;
}

if (import.meta.main) {
  const text = await Deno.readTextFile(new URL("./alice.txt", import.meta.url));
  await Deno.writeTextFile(new URL("./model.json", import.meta.url), formatModel(buildModel(text)));
}

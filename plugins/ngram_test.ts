/**
 * Tests of the plugin `ngram`, called directly, without a cell.
 *
 * @module
 */
import assert from "node:assert/strict";
import { buildModel, formatModel } from "./ngram/build.ts";
import { createActions, type Inference, type InferInput } from "./ngram/mod.ts";
import { Model, parseModelFile } from "./ngram/model.ts";
import { sample } from "./ngram/sample.ts";
import { tokenize } from "./ngram/tokens.ts";
import { createTestContext } from "./test_context.ts";

const packageUrl = new URL("./ngram/", import.meta.url);
const packageDir = packageUrl.pathname;

async function infer(
  input: InferInput,
  ctx = createTestContext({ packageDir }),
): Promise<{ tokens: string[]; output: Inference }> {
  const tokens: string[] = [];
  const generator = createActions().infer(input, ctx);
  for (;;) {
    const { done, value } = await generator.next();
    if (done) return { tokens, output: value };
    tokens.push(value);
  }
}

Deno.test("model.json is what build.ts makes of alice.txt", async () => {
  const text = await Deno.readTextFile(new URL("alice.txt", packageUrl));
  const committed = await Deno.readTextFile(new URL("model.json", packageUrl));
  assert.equal(formatModel(buildModel(text)), committed);
});

Deno.test("tokenize() keeps the text: tokens joined are the text again", async () => {
  const text = await Deno.readTextFile(new URL("alice.txt", packageUrl));
  assert.equal(tokenize(text).join(""), text.trim());
});

Deno.test("tokenize() takes white space, apostrophes and empty text as they come", () => {
  assert.deepEqual(tokenize("  Don't\tgo,\r\nAda!\r\n \r\nNo. 42"), [
    ..."Don’t| go|,| Ada|!".split("|"),
    "\n\n",
    ..."No|.| 42".split("|"),
  ]);
  assert.deepEqual(tokenize(" \n\n "), []);
});

Deno.test("Model.distribution() sums up to 1 and never starts again, after any context", () => {
  const model = new Model(buildModel("a b a b a c.\n\nA b."));
  for (const prompt of ["", "a", "a b", "c.", "unknown", "a unknown", "A B"]) {
    const probabilities = model.distribution(model.contextOf(tokenize(prompt)));
    assert.ok(Math.abs(probabilities.reduce((a, b) => a + b) - 1) < 1e-12, prompt);
    assert.equal(probabilities[0], 0);
    assert.ok(probabilities.slice(1).every((probability) => probability > 0), prompt);
  }
});

Deno.test("Model.distribution() prefers what followed most often", () => {
  const model = new Model(buildModel("x a x a x b"));
  const probabilities = model.distribution(model.contextOf(["x"]));
  const [a, b] = [" a", " b"].map((token) => probabilities[model.vocabulary.indexOf(token)] ?? 0);
  assert.ok(a !== undefined && b !== undefined && a > b);
});

Deno.test("sample() picks by point, and the largest at temperature 0", () => {
  const probabilities = new Float64Array([0, 0.25, 0.75, 0]);
  assert.deepEqual([0, 0.24, 0.26, 0.999999].map((point) => sample(probabilities, 1, point)), [1, 1, 2, 2]);
  assert.equal(sample(probabilities, 0, 0), 2);
  assert.equal(sample(probabilities, 0.001, 0), 2);
});

Deno.test("parseModelFile() refuses what is not a model", () => {
  for (const text of ["{}", "null", "[]", '{"format":"airlock-ngram-2"}']) {
    assert.throws(() => parseModelFile(text), { message: /^Cannot load "model.json"/ });
  }
});

Deno.test("infer() repeats itself for the same seed, and only then", async () => {
  const input = { prompt: "Alice was", maxTokens: 50 };
  const first = await infer({ ...input, seed: 7 });
  assert.deepEqual(await infer({ ...input, seed: 7 }), first);
  assert.notDeepEqual(await infer({ ...input, seed: 8 }), first);
});

Deno.test("infer() yields the tokens of its text and returns how it finished", async () => {
  const { tokens, output } = await infer({ prompt: "The Rabbit", maxTokens: 20, seed: 1 });
  assert.equal(tokens.length, 20);
  assert.deepEqual(output, { text: tokens.join(""), tokens: 20, finishReason: "length" });
});

Deno.test("infer() stops where the text ends", async () => {
  const { output } = await infer({
    prompt: "and the whole party swam to the shore.",
    maxTokens: 10,
    temperature: 0,
  });
  assert.deepEqual(output, { text: "", tokens: 0, finishReason: "stop" });
});

Deno.test("infer() takes an empty prompt and one of unknown words", async () => {
  for (const prompt of ["", "  ", "Zzyzx 東京 <start>"]) {
    assert.equal((await infer({ prompt, maxTokens: 3, seed: 1 })).output.tokens, 3);
  }
});

Deno.test("infer() gives way to the event loop before each token", async () => {
  const controller = new AbortController();
  const generator = createActions().infer(
    { prompt: "", maxTokens: 65_536, temperature: 0 },
    createTestContext({ packageDir, signal: controller.signal }),
  );
  await generator.next();
  setTimeout(() => controller.abort(), 0); // a timer only fires in a turn of its own
  for (let tokens = 1;; tokens++) {
    const { done, value } = await generator.next();
    if (!done) continue;
    assert.equal(value.finishReason, "cancelled");
    assert.equal(value.tokens, tokens);
    break;
  }
});

Deno.test("load_model() says what it loaded, and model_info() whether", async () => {
  const { load_model, model_info } = createActions();
  assert.deepEqual(model_info(), { loaded: false, model: null });
  const info = await load_model({}, createTestContext({ packageDir }));
  assert.equal(info.order, 3);
  assert.ok(info.vocabulary > 1_000 && info.ngrams > 4_000);
  assert.deepEqual(model_info(), { loaded: true, model: info });
});

Deno.test("load_model() tries again after a failure", async () => {
  const { load_model } = createActions();
  await assert.rejects(load_model({}, createTestContext({ packageDir: "/nonexistent" })));
  assert.equal((await load_model({}, createTestContext({ packageDir }))).order, 3);
});

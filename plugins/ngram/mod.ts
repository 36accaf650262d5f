/**
 * N-gram is a language model small enough to ship in a package: it continues a prompt, token by token.
 *
 * What counts here is less the prose than the manners of a model behind Airlock: tokens leave one by one, a
 * caller that goes away stops the work at the next token, and a seed makes a text repeatable.
 *
 * @module
 */
import { setImmediate } from "node:timers/promises";
import type { Actions, Context } from "airlock/sdk";
import { endId, Model, type ModelInfo, parseModelFile } from "./model.ts";
import { sample } from "./sample.ts";
import { tokenize } from "./tokens.ts";

/** Fits the input schema of the manifest. */
export interface InferInput {
  prompt: string;
  maxTokens?: number;
  temperature?: number;
  seed?: number;
}

export interface Inference {
  text: string;
  tokens: number;
  finishReason: "stop" | "length" | "cancelled";
}

/** The end of a prompt that can matter: a few tokens are looked back to. */
const promptLengthUsed = 1_024;

export function createActions() {
  let loading: Promise<Model> | undefined;
  let loaded: Model | undefined;

  /** Calls that come while the model loads wait for the same load. After a failed one the next call tries again. */
  async function load(ctx: Context): Promise<Model> {
    loading ??= Deno.readTextFile(`${ctx.packageDir}/model.json`).then((text) =>
      new Model(parseModelFile(text))
    );
    try {
      return loaded = await loading;
    } catch (error) {
      loading = undefined;
      throw error;
    }
  }

  return {
    async load_model(_input: Record<string, never>, ctx: Context): Promise<ModelInfo> {
      return (await load(ctx)).info;
    },

    model_info(): { loaded: boolean; model: ModelInfo | null } {
      return { loaded: loaded !== undefined, model: loaded?.info ?? null };
    },

    async *infer(input: InferInput, ctx: Context): AsyncGenerator<string, Inference, void> {
      const model = await load(ctx);
      const { maxTokens = 64, temperature = 0.7, seed = randomSeed() } = input;
      const random = createRandom(seed);
      let context = model.contextOf(tokenize(input.prompt.slice(-promptLengthUsed)));
      let text = "";
      for (let tokens = 0; tokens < maxTokens; tokens++) {
        // One turn of the event loop for each token: that is when a token leaves and a cancel arrives.
        await setImmediate();
        if (ctx.signal.aborted) return { text, tokens, finishReason: "cancelled" };
        const id = sample(model.distribution(context), temperature, random());
        if (id === endId) return { text, tokens, finishReason: "stop" };
        context = [...context, id].slice(1 - model.info.order);
        const token = model.vocabulary[id] ?? "";
        text += token;
        yield token;
      }
      return { text, tokens: maxTokens, finishReason: "length" };
    },
  } satisfies Actions;
}

export const actions = createActions();

function randomSeed(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0] ?? 0;
}

/** Numbers from 0 up to 1 that depend on `seed` alone: the generator mulberry32. */
function createRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

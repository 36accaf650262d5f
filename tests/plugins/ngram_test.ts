import { deepEqual, equal, ok } from "node:assert/strict";
import { Airlock, until } from "../support/airlock.ts";

interface Inference {
  text: string;
  tokens: number;
  finishReason: string;
}

Deno.test("ngram loads its model, says what it is, and repeats itself with a seed", async () => {
  await using airlock = await Airlock.start();
  const info = () =>
    airlock.call<{ loaded: boolean; model: Record<string, unknown> | null }>("ngram", "model_info");
  deepEqual(await info(), { loaded: false, model: null });
  const model = await airlock.call<Record<string, unknown>>("ngram", "load_model");
  ok(Number(model["vocabulary"]) > 10 && Number(model["order"]) > 1);
  deepEqual(await info(), { loaded: true, model });
  const input = { prompt: "Alice was ", maxTokens: 40, seed: 7 };
  const first = await airlock.call<Inference>("ngram", "infer", input);
  deepEqual(await airlock.call<Inference>("ngram", "infer", input), first);
  ok(first.tokens > 0 && first.text.length > 0);
  equal((await airlock.fail("ngram", "infer", { prompt: 7 })).code, "INPUT_INVALID");
});

Deno.test("ngram delivers its first token before the last is produced", async () => {
  await using airlock = await Airlock.start();
  await airlock.call("ngram", "load_model");
  // With temperature 0 it goes round in circles and never comes to an end of its own.
  const input = { prompt: "Alice ", maxTokens: 20_000, temperature: 0 };
  let tokens = 0;
  let text = "";
  let firstRead = 0;
  for await (const { event, data, read } of await airlock.stream("ngram", "infer", input)) {
    if (event === "TOKEN") {
      text += data;
      if (tokens++ > 0) continue;
      firstRead = read;
      // The first token is here, and the call has no outcome yet.
      const types = (await airlock.records()).map(({ type, data }) => `${type} ${data["action"]}`);
      equal(types.at(-1), "call.accepted infer");
      continue;
    }
    equal(event, "COMPLETE", JSON.stringify(data));
    const { output } = data as { output: Inference };
    deepEqual([output.text, output.tokens, tokens], [text, 20_000, 20_000]);
    ok(read > firstRead, "the end came in a later read than the first token");
  }
});

Deno.test("ngram stops soon after its caller has gone", async () => {
  await using airlock = await Airlock.start();
  const events = await airlock.stream("ngram", "infer", {
    prompt: "Alice ",
    maxTokens: 65_536,
    temperature: 0,
  });
  equal((await events.next()).value?.event, "TOKEN");
  await events.return(undefined);
  await until("the call over", async () => {
    const calls = (await airlock.records()).filter(({ data }) => data["action"] === "infer");
    return calls.length === 2;
  }, 3_000);
  equal(
    (await airlock.call<{ loaded: boolean }>("ngram", "model_info")).loaded,
    true,
    "its cell was not killed",
  );
});

import { deepEqual, equal } from "node:assert/strict";
import { entriesMin, ProgressMeter } from "./progress_meter.ts";

function createScreen(isDrawable: boolean) {
  const drawn: string[] = [];
  const draw = (text: string) => {
    drawn.push(text);
    return Promise.resolve();
  };
  return { drawn, output: { isDrawable, draw } };
}

Deno.test("ProgressMeter draws a few times a second, and takes itself off the terminal", async () => {
  const { drawn, output } = createScreen(true);
  let nowMs = 0;
  const meter = new ProgressMeter(output, () => nowMs);
  for (let done = 0; done <= 200_000; done += 1_000, nowMs += 10) meter.update(done, 200_000);
  await meter.clear();
  equal(drawn.length, 22);
  const text = "[############............] 50 %  100,000 of 200,000 entries, 100,000 a second";
  equal(drawn[10], `\r${text}\x1b[K`);
  equal(drawn.at(-1), "\r\x1b[K");
});

Deno.test("ProgressMeter draws nothing for few entries, nor where there is no terminal", async () => {
  for (const [isDrawable, total] of [[true, entriesMin], [false, 10 * entriesMin]] as const) {
    const { drawn, output } = createScreen(isDrawable);
    const meter = new ProgressMeter(output, () => 0);
    meter.update(1, total);
    await meter.clear();
    deepEqual(drawn, []);
  }
});

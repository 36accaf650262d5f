import assert from "node:assert/strict";
import fc from "fast-check";
import { jobEventTypes } from "../../schemas/event.ts";
import { chunkText, createEvent, EventPage, parseChunk } from "./job_event_chunk.ts";

const values = fc.json({ maxDepth: 2 });
const told = fc.array(fc.tuple(fc.constantFrom(...jobEventTypes), values), { minLength: 1, maxLength: 20 });

Deno.test("parseChunk() returns the events whose text chunkText() made", () => {
  fc.assert(fc.property(fc.integer({ min: 1, max: 1_000_000 }), told, (firstSeq, list) => {
    const events = list.map(([type, json], place) => createEvent(firstSeq + place, type, json));
    const chunk = { firstSeq, lastSeq: firstSeq + list.length - 1, events };
    const text = chunkText(chunk);
    assert.equal(text.split("\n").length, list.length + 1);
    assert.deepEqual(parseChunk({ ...chunk, text }), chunk);
  }));
});

// White space of a plugin's own JSON must not begin a line that reads as an event of the kernel's.
Deno.test("createEvent() keeps JSON on one line, and its value", () => {
  const texts = ['{\n"C": [1,\r\n2]}', '"a\u2028b\u2029c\u0085d"', '"\\n\\r\\u0000"', '"C{}"', "1\n", "\r1"];
  for (const text of texts) {
    const { json } = createEvent(1, "JOB_TOKEN", text);
    assert.doesNotMatch(json, /[\n\r]/);
    assert.deepEqual(JSON.parse(json), JSON.parse(text));
  }
});

Deno.test("parseChunk() refuses a text that is not what its row says", () => {
  const rows: [number, string][] = [[2, "T1\n"], [1, "T1\nT2\n"], [1, "T1"], [1, "Z1\n"], [1, ""], [1, "\n"]];
  for (const [lastSeq, text] of rows) {
    assert.throws(() => parseChunk({ firstSeq: 1, lastSeq, text }), RangeError, JSON.stringify(text));
  }
});

Deno.test("EventPage.take() takes what fits and at least one, and nothing above the last number", () => {
  const events = [1, 2, 3, 4].map((seq) => createEvent(seq, "JOB_TOKEN", `"${"x".repeat(98)}"`));
  const chunk = { firstSeq: 1, lastSeq: 4, events };
  const take = (after: number, bytesMax: number, lastSeq = 4) => {
    const page = new EventPage(after, bytesMax);
    const hasRoom = page.take(chunk, lastSeq);
    return { ids: page.events.map(({ id }) => id).join(), hasRoom, after: page.after };
  };
  assert.deepEqual(take(0, 0), { ids: "1", hasRoom: false, after: 1 });
  assert.deepEqual(take(1, 400), { ids: "2,3", hasRoom: false, after: 3 });
  assert.deepEqual(take(0, 10_000, 3), { ids: "1,2,3", hasRoom: true, after: 3 });
  assert.deepEqual(take(9, 10_000), { ids: "", hasRoom: true, after: 9 });
});

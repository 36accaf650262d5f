import assert from "node:assert/strict";
import { systemClock } from "../../sandbox/clock.ts";
import { TestingClock } from "../../sandbox/testing_clock.ts";
import { EventStream } from "./event_stream.ts";
import { loseWithinEnqueue } from "./testing_lost_reader.ts";

const quiet = {
  keepAliveMs: 60_000,
  clock: systemClock,
  refusal: () => undefined,
  onCancel: () => assert.fail("cancelled"),
};

interface ReceivedEvent {
  id: string;
  event: string;
  data: string;
}

/** Parses as the standard says: any of CR LF, CR and LF ends a line, an empty line ends an event. */
function parseEvents(text: string): ReceivedEvent[] {
  const blocks = text.split(/(?:\r\n|\r|\n){2}/).filter((block) => block !== "");
  return blocks.map((block) => {
    const lines = block.split(/\r\n|\r|\n/).map((line) =>
      /^(\w+): (.*)$/s.exec(line)?.slice(1) ?? assert.fail(line)
    );
    assert.deepEqual(lines.map(([field]) => field), ["id", "event", "data"]);
    const [[, id = ""], [, event = ""], [, data = ""]] = lines as [string[], string[], string[]];
    return { id, event, data };
  });
}

function piecesOf(...pieces: string[]): Iterator<Uint8Array, undefined> {
  return pieces.map((piece) => new TextEncoder().encode(piece)).values();
}

async function readRest(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for (let read = await reader.read(); !read.done; read = await reader.read()) {
    text += decoder.decode(read.value);
  }
  return text;
}

Deno.test("EventStream counts its events from 1 and closes after the last", async () => {
  const stream = new EventStream(quiet);
  assert.equal(stream.state, "waiting");
  await stream.send("TOKEN", '"a"');
  await stream.opened;
  assert.equal(stream.state, "open");
  stream.sendProgress('{"fraction":0.5,"note":"half"}');
  stream.end("COMPLETE", '{"output":1}');
  assert.equal(stream.state, "closed");
  assert.deepEqual(parseEvents(await new Response(stream.body).text()), [
    { id: "1", event: "TOKEN", data: '"a"' },
    { id: "2", event: "PROGRESS", data: '{"fraction":0.5,"note":"half"}' },
    { id: "3", event: "COMPLETE", data: '{"output":1}' },
  ]);
});

Deno.test("EventStream lets no data end its event or begin another", async () => {
  const forged = "\n\nevent: COMPLETE\ndata: {}\n\n";
  const texts = [
    JSON.stringify(forged),
    `[1,${forged.replace(/\S+/g, "")}2]`,
    "[\r\r1,\r\n\r\n2]",
    JSON.stringify("\u2028\u2029\u0085\v\f"),
    '{"id":"7\\nid: 9"}',
  ];
  const stream = new EventStream(quiet);
  for (const text of texts) await stream.send("TOKEN", text);
  stream.end("ERROR", "{}");
  const events = parseEvents(await new Response(stream.body).text());
  assert.deepEqual(events.map(({ event }) => event), [...texts.map(() => "TOKEN"), "ERROR"]);
  assert.deepEqual(
    events.slice(0, -1).map(({ data }) => JSON.parse(data)),
    texts.map((text) => JSON.parse(text)),
  );
});

Deno.test("EventStream sends numbers as they were written", async () => {
  const stream = new EventStream(quiet);
  stream.end("COMPLETE", '{"output":12345678901234567890.00}');
  assert.match(await new Response(stream.body).text(), /"output":12345678901234567890\.00/);
});

Deno.test("EventStream makes its sender wait for a slow reader, and keeps only the latest progress", async () => {
  const stream = new EventStream(quiet);
  const reader = stream.body.getReader();
  let settled = false;
  const sent = stream.send("TOKEN", JSON.stringify("x".repeat(100_000))).then(() => settled = true);
  for (const note of ["first", "second", "third"]) stream.sendProgress(JSON.stringify({ note }));
  await stream.opened;
  assert.equal(settled, false);
  assert.match(new TextDecoder().decode((await reader.read()).value), /^id: 1\nevent: TOKEN\n/);
  await sent;
  stream.end("COMPLETE", "1");
  const rest = parseEvents(await readRest(reader));
  assert.deepEqual(rest.map(({ id, data }) => [id, data]), [["2", '{"note":"third"}'], ["3", "1"]]);
});

Deno.test("EventStream lets its sender go when the reader is gone", async () => {
  let cancels = 0;
  const stream = new EventStream({ ...quiet, onCancel: () => cancels += 1 });
  const sent = stream.send("TOKEN", JSON.stringify("x".repeat(100_000)));
  await stream.body.cancel();
  assert.equal(cancels, 1);
  await sent;
  await stream.send("TOKEN", "1");
  stream.sendProgress("{}");
  stream.end("COMPLETE", "1");
  assert.equal(stream.state, "closed");
});

Deno.test("EventStream sends a comment while it is idle, which settles the status", async () => {
  const stream = new EventStream({ ...quiet, keepAliveMs: 1, onCancel: () => undefined });
  const reader = stream.body.getReader();
  assert.equal(new TextDecoder().decode((await reader.read()).value), ": keep-alive\n\n");
  await stream.opened;
  await reader.cancel();
});

Deno.test("EventStream survives a reader that is lost within its enqueue", async () => {
  const acts: ((stream: EventStream) => void | Promise<void>)[] = [
    (stream) => stream.send("TOKEN", "1"),
    (stream) => stream.sendProgress("{}"),
    (stream) => stream.end("COMPLETE", "{}"),
    (stream) => stream.endInPieces("COMPLETE", piecesOf("{", "}")),
  ];
  for (const act of acts) {
    let cancels = 0;
    const stream = new EventStream({ ...quiet, onCancel: () => cancels += 1 });
    const reader = stream.body.getReader();
    const reading = reader.read();
    using _lost = loseWithinEnqueue(reader);
    await act(stream);
    await reading;
    assert.deepEqual([stream.state, cancels], ["closed", 1]);
  }
});

Deno.test("EventStream sends a last event in pieces, as its reader takes them", async () => {
  const clock = new TestingClock();
  const stream = new EventStream({ ...quiet, clock, keepAliveMs: 100 });
  const large = "x".repeat(65_536);
  let asked = 0;
  const pieces = piecesOf('["\u65e5",\n"', large, '",\r\n"', large, '"]');
  stream.endInPieces("COMPLETE", {
    next() {
      asked++;
      return pieces.next();
    },
  });
  // A comment within it would be a part of it.
  clock.advance(1_000);
  assert.deepEqual([asked, stream.state], [2, "open"]);
  const text = await readRest(stream.body.getReader());
  assert.deepEqual(parseEvents(text), [
    { id: "1", event: "COMPLETE", data: `["\u65e5", "${large}",  "${large}"]` },
  ]);
  assert.deepEqual([asked, stream.state, clock.isTimerSet], [6, "closed", false]);
});

Deno.test("EventStream leaves a last event without its end to a reader that lost its right", async () => {
  const clock = new TestingClock();
  let [mayRead, cancels] = [true, 0];
  const refusal = () => mayRead ? undefined : '{"code":"UNAUTHENTICATED"}';
  const stream = new EventStream({ keepAliveMs: 100, clock, refusal, onCancel: () => cancels += 1 });
  stream.endInPieces("COMPLETE", piecesOf("[1,", "x".repeat(65_536), "]"));
  mayRead = false;
  clock.advance(100);
  const text = await new Response(stream.body).text();
  assert.match(text, /^id: 1\nevent: COMPLETE\ndata: \[1,x+$/);
  assert.deepEqual([cancels, stream.state, clock.isTimerSet], [1, "closed", false]);
});

// Else a revoked token would hear a plugin for as long as that speaks.
Deno.test("EventStream tells a reader that lost its right, and nothing after it", async () => {
  for (const isOpen of [true, false]) {
    const clock = new TestingClock();
    let [mayRead, cancels] = [true, 0];
    const refusal = () => mayRead ? undefined : '{"code":"UNAUTHENTICATED"}';
    const stream = new EventStream({ keepAliveMs: 100, clock, refusal, onCancel: () => cancels += 1 });
    const waiting = isOpen ? stream.send("TOKEN", JSON.stringify("x".repeat(100_000))) : undefined;
    clock.advance(100);
    assert.equal(cancels, 0);
    mayRead = false;
    clock.advance(100);
    assert.deepEqual([cancels, clock.isTimerSet], [1, false]);
    await Promise.all([waiting, stream.opened]);
    await stream.send("TOKEN", "late");
    stream.end("COMPLETE", "late");
    const text = await new Response(stream.body).text();
    assert.match(text, /event: ERROR\ndata: {"code":"UNAUTHENTICATED"}\n\n$/);
    assert.doesNotMatch(text, /late/);
    assert.equal(stream.state, "closed");
  }
});

import { deepEqual, equal, ok, throws } from "node:assert/strict";
import { createHash } from "node:crypto";
import fc from "fast-check";
import { encodeFrame, type Frame, FrameError, FrameReader } from "./frame.ts";

const frameBytesMax = 65_536;
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const bytesOf = (string: string) => new TextEncoder().encode(string);
const hashOf = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

/** A frame's bytes by hand: whatever lengths are claimed, in front of what really follows. */
function rawFrame(length: number, envelopeLength: number, rest: Uint8Array = new Uint8Array()): Uint8Array {
  const frame = new Uint8Array(6 + rest.length);
  new DataView(frame.buffer).setUint32(0, length);
  new DataView(frame.buffer).setUint16(4, envelopeLength);
  frame.set(rest, 6);
  return frame;
}

function concatenated(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((bytes, part) => bytes + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

const frameArbitrary = fc.record({
  envelope: fc.oneof(
    fc.record({ type: fc.string(), id: fc.nat(), message: fc.string({ unit: "binary" }) }),
    fc.jsonValue().filter((value) => !Object.is(value, -0)),
  ),
  body: fc.uint8Array({ maxLength: 600 }),
});

Deno.test("FrameReader gives the same frames however the bytes are cut", () => {
  const plan = fc.tuple(
    fc.array(frameArbitrary, { maxLength: 6 }),
    fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1, maxLength: 40 }),
  );
  fc.assert(fc.property(plan, ([frames, cuts]) => {
    const bytes = concatenated(frames.map(({ envelope, body }) => encodeFrame(envelope, body)));
    const reader = new FrameReader(frameBytesMax);
    const received: Frame[] = [];
    const chunk = new Uint8Array(400);
    let arrivedBytes = 0;
    for (let turn = 0; arrivedBytes < bytes.length; turn++) {
      const piece = bytes.subarray(arrivedBytes, arrivedBytes + (cuts[turn % cuts.length] ?? 1));
      // One buffer for every read, as with a socket: nothing may be kept of it.
      chunk.set(piece);
      received.push(...reader.push(chunk.subarray(0, piece.length)));
      chunk.fill(0xff);
      arrivedBytes += piece.length;
      ok(reader.heldBytes <= arrivedBytes);
    }
    equal(reader.heldBytes, 0);
    deepEqual(
      received.map(({ envelope, body }) => [envelope, [...body]]),
      frames.map(({ envelope, body }) => [JSON.parse(JSON.stringify(envelope)), [...body]]),
    );
  }));
});

Deno.test("FrameReader refuses a frame that claims 4 GB by its first four bytes, and holds none of it", () => {
  const head = rawFrame(0xffff_ffff, 2);
  for (const cut of [4, 5, 6]) {
    const reader = new FrameReader(frameBytesMax);
    throws(() => reader.push(head.subarray(0, cut)), FrameError);
    equal(reader.heldBytes, 0);
  }
  // Byte by byte it holds what came before the length was known.
  const reader = new FrameReader(frameBytesMax);
  for (const byte of head.subarray(0, 3)) deepEqual(reader.push(new Uint8Array([byte])), []);
  throws(() => reader.push(head.subarray(3, 4)), FrameError);
  ok(reader.heldBytes <= 4);
});

Deno.test("FrameReader takes a frame of exactly its limit and refuses one byte more", () => {
  const overheadBytes = 2 + bytesOf("{}").length;
  const largest = encodeFrame({}, new Uint8Array(frameBytesMax - overheadBytes));
  equal(new FrameReader(frameBytesMax).push(largest).length, 1);
  const larger = encodeFrame({}, new Uint8Array(frameBytesMax - overheadBytes + 1));
  throws(() => new FrameReader(frameBytesMax).push(larger), /at most 65536 are allowed/);
});

Deno.test("FrameReader holds no more than what arrived of a large frame", () => {
  const reader = new FrameReader(0x7fff_ffff);
  deepEqual(reader.push(rawFrame(0x7fff_ffff, 2, bytesOf("{}"))), []);
  equal(reader.heldBytes, 8);
  deepEqual(reader.push(new Uint8Array(1_000)), []);
  equal(reader.heldBytes, 1_008);
});

// An array for each of them would weigh a hundred times what arrived.
Deno.test("FrameReader holds little beside what arrived, byte by byte", () => {
  const reader = new FrameReader(33_554_432);
  reader.push(new Uint8Array([1, 0xff, 0, 0, 0, 2]));
  const before = Deno.memoryUsage();
  const byte = new Uint8Array(1);
  for (let count = 0; count < 500_000; count++) reader.push(byte);
  const { heapUsed, external } = Deno.memoryUsage();
  equal(reader.heldBytes, 500_006);
  ok(heapUsed + external - before.heapUsed - before.external < 50_000_000);
});

Deno.test("FrameReader gives the frames before a bad one in the chunks before it, and none after", () => {
  const reader = new FrameReader(frameBytesMax);
  equal(reader.push(encodeFrame({ type: "good" })).length, 1);
  throws(() => reader.push(rawFrame(0xffff_ffff, 2)), FrameError);
});

const malformed: [what: string, bytes: Uint8Array][] = [
  ["without an envelope", rawFrame(0, 0)],
  ["with half a length of an envelope", rawFrame(1, 0)],
  ["with an empty envelope", rawFrame(2, 0)],
  ["with an envelope longer than itself", rawFrame(4, 3, bytesOf("{}"))],
  ["with an envelope that is not JSON", rawFrame(4, 2, bytesOf("{]"))],
  ["with two values in its envelope", rawFrame(6, 4, bytesOf("{}{}"))],
  ["with an envelope that is not UTF-8", rawFrame(5, 3, new Uint8Array([0x22, 0xff, 0x22]))],
  ["with a surrogate in its envelope", rawFrame(7, 5, new Uint8Array([0x22, 0xed, 0xa0, 0x80, 0x22]))],
  ["with a byte order mark", rawFrame(7, 5, new Uint8Array([0xef, 0xbb, 0xbf, 0x7b, 0x7d]))],
];
for (const [what, bytes] of malformed) {
  Deno.test(`FrameReader refuses a frame ${what}`, () => {
    throws(() => new FrameReader(frameBytesMax).push(bytes), FrameError);
  });
}

Deno.test("FrameReader never throws anything but FrameError, whatever arrives", () => {
  fc.assert(fc.property(fc.array(fc.uint8Array({ maxLength: 64 }), { maxLength: 20 }), (chunks) => {
    const reader = new FrameReader(256);
    let arrivedBytes = 0;
    try {
      for (const chunk of chunks) {
        reader.push(chunk);
        arrivedBytes += chunk.length;
        ok(reader.heldBytes <= Math.min(arrivedBytes, 256 + 4));
      }
    } catch (error) {
      ok(error instanceof FrameError, String(error));
    }
  }));
});

Deno.test("encodeFrame() refuses an envelope above 64 KB and a frame above its limit", () => {
  throws(() => encodeFrame({ text: "x".repeat(65_536) }), FrameError);
  // Three bytes for each character.
  throws(() => encodeFrame({ text: "€".repeat(22_000) }), FrameError);
  throws(() => encodeFrame({}, new Uint8Array(100), 100), FrameError);
  equal(encodeFrame({}, new Uint8Array(96), 100).length, 104);
});

Deno.test("encodeFrame() copies the body", () => {
  const body = bytesOf("before");
  const frame = encodeFrame({}, body);
  body.fill(0);
  equal(text(new FrameReader(frameBytesMax).push(frame)[0]?.body ?? new Uint8Array()), "before");
});

Deno.test("FrameReader joins a frame above a megabyte from pieces of any size", () => {
  const body = new Uint8Array(1_500_000).map((_, index) => index * 31 + (index >> 8));
  const sent = encodeFrame({ type: "result", id: 7 }, body);
  const after = encodeFrame({ type: "log" }, bytesOf("after"));
  const bytes = concatenated([encodeFrame({ type: "log" }, bytesOf("before")), sent, after]);
  for (const pieceBytes of [1, 3, 1_023, 65_536, 400_000, 1_499_999, bytes.length]) {
    const reader = new FrameReader(2_000_000);
    const chunk = new Uint8Array(pieceBytes);
    const received: Frame[] = [];
    for (let at = 0; at < bytes.length; at += pieceBytes) {
      const piece = bytes.subarray(at, at + pieceBytes);
      chunk.set(piece);
      const { lackedBytes } = reader;
      const frames = reader.push(chunk.subarray(0, piece.length));
      chunk.fill(0xff);
      if (piece.length < lackedBytes) deepEqual(frames, [], "it lacks no less than it says");
      received.push(...frames);
    }
    deepEqual(received.map(({ envelope }) => envelope), [{ type: "log" }, { type: "result", id: 7 }, {
      type: "log",
    }]);
    equal(hashOf(received[1]?.body ?? new Uint8Array()), hashOf(body));
    deepEqual(received.map(({ body }) => body.length), [6, body.length, 5]);
    equal(text(received[2]?.body ?? new Uint8Array()), "after");
    deepEqual([reader.heldBytes, reader.lackedBytes], [0, 0]);
  }
});

Deno.test("FrameReader takes at most eight times the memory of what arrived, whatever a frame claims", () => {
  const claimedBytes = 64 * 1_048_576;
  const reader = new FrameReader(claimedBytes);
  const piece = new Uint8Array(262_144);
  const beforeBytes = Deno.memoryUsage().external;
  reader.push(rawFrame(claimedBytes, 2));
  for (let arrivedBytes = piece.length; arrivedBytes < claimedBytes; arrivedBytes += piece.length) {
    reader.push(piece);
    const takenBytes = Deno.memoryUsage().external - beforeBytes;
    ok(takenBytes <= 8 * arrivedBytes + 65_536, `${takenBytes} bytes for ${arrivedBytes}`);
  }
});

import { deepEqual, equal, ok, throws } from "node:assert/strict";
import fc from "fast-check";
import { encodeFrame, FrameError, FrameReader } from "./frame.ts";
import { FrameWriter } from "./frame_writer.ts";

interface Write {
  readonly bytes: Uint8Array;
  /** The sink has taken so many of them. */
  take(count?: number): void;
  fail(error: Error): void;
}

/** A sink whose writes end when the test says so. */
class HeldSink {
  readonly writes: Write[] = [];
  #started = Promise.withResolvers<void>();

  write(bytes: Uint8Array): Promise<number> {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    this.writes.push({
      bytes: bytes.slice(),
      take: (count = bytes.length) => resolve(count),
      fail: reject,
    });
    this.#started.resolve();
    return promise;
  }

  /** The write number `index`, from 0, once it has begun. */
  async at(index: number): Promise<Write> {
    while (this.writes.length <= index) {
      this.#started = Promise.withResolvers<void>();
      await this.#started.promise;
    }
    return this.writes[index]!;
  }
}

function create(limits: { frameBytesMax?: number; queueBytesMax?: number } = {}) {
  const sink = new HeldSink();
  const errors: Error[] = [];
  const writer = new FrameWriter(sink, {
    frameBytesMax: 1_000,
    queueBytesMax: 1_000,
    ...limits,
    onError: (error) => errors.push(error),
  });
  return { sink, writer, errors };
}

const envelopesIn = (bytes: Uint8Array) =>
  new FrameReader(1_000_000).push(bytes).map(({ envelope }) => envelope);

Deno.test("FrameWriter sends what is queued in one turn in one write, and what comes meanwhile in the next", async () => {
  const { sink, writer } = create();
  writer.send(1);
  writer.send(2);
  const first = await sink.at(0);
  deepEqual(envelopesIn(first.bytes), [1, 2]);
  for (const envelope of [3, 4, 5]) writer.send(envelope);
  equal(sink.writes.length, 1);
  first.take();
  const second = await sink.at(1);
  deepEqual(envelopesIn(second.bytes), [3, 4, 5]);
  second.take();
  await writer.flush();
  equal(sink.writes.length, 2);
});

Deno.test("FrameWriter goes on where a short write ended", async () => {
  const { sink, writer } = create();
  writer.send({ type: "short" }, new Uint8Array(40).fill(7));
  const taken: number[] = [];
  const whole = (await sink.at(0)).bytes;
  for (let index = 0, left = whole.length; left > 0; index++) {
    const write = await sink.at(index);
    const count = Math.min(9, left);
    taken.push(...write.bytes.subarray(0, count));
    write.take(count);
    left -= count;
  }
  await writer.flush();
  deepEqual(taken, [...whole]);
});

Deno.test("FrameWriter keeps the order of frames over any short writes", async () => {
  await fc.assert(fc.asyncProperty(
    fc.array(fc.tuple(fc.nat(), fc.uint8Array({ maxLength: 50 })), { maxLength: 30 }),
    fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }),
    async (frames, counts) => {
      const sent: number[] = [];
      let turn = 0;
      const sink = {
        write(bytes: Uint8Array) {
          const count = Math.min(bytes.length, counts[turn++ % counts.length] ?? 1);
          sent.push(...bytes.subarray(0, count));
          return Promise.resolve(count);
        },
      };
      const writer = new FrameWriter(sink, {
        frameBytesMax: 1_000,
        queueBytesMax: 100_000,
        onError: (error) => {
          throw error;
        },
      });
      for (const [index, [pause, body]] of frames.entries()) {
        writer.send(index, body);
        for (let tick = 0; tick < pause % 4; tick++) await null;
      }
      await writer.flush();
      const received = new FrameReader(1_000_000).push(new Uint8Array(sent));
      deepEqual(
        received.map(({ envelope, body }) => [envelope, [...body]]),
        frames.map(([, body], index) => [index, [...body]]),
      );
    },
  ));
});

Deno.test("FrameWriter.isFull holds while more waits than fits, and room() until it does not", async () => {
  const { sink, writer } = create();
  const body = new Uint8Array(400);
  writer.send(1, body);
  const first = await sink.at(0);
  // What is being written does not wait any more.
  for (const envelope of [2, 3]) writer.send(envelope, body);
  equal(writer.isFull, false);
  await writer.room();
  writer.send(4, body);
  equal(writer.isFull, true);
  const events: string[] = [];
  const room = writer.room().then(() => events.push("room"));
  await null;
  first.take();
  const second = await sink.at(1);
  equal(writer.isFull, false);
  second.take();
  await room;
  deepEqual(events, ["room"]);
  await writer.flush();
});

Deno.test("FrameWriter gives up a peer that does not read, at a bound", () => {
  const { writer, errors } = create();
  for (let envelope = 0; envelope < 20; envelope++) writer.send(envelope, new Uint8Array(500));
  equal(errors.length, 1);
  ok(errors[0] instanceof FrameError);
  equal(writer.isFull, false);
});

Deno.test("FrameWriter tells a failed write once, lets who waits for room go, and drops what follows", async () => {
  const { sink, writer, errors } = create();
  writer.send(1, new Uint8Array(900));
  const first = await sink.at(0);
  for (const envelope of [2, 3]) writer.send(envelope, new Uint8Array(900));
  const room = writer.room();
  first.fail(new Deno.errors.BrokenPipe("gone"));
  await room;
  await writer.flush();
  writer.send(4);
  await writer.flush();
  deepEqual(errors.map(({ message }) => message), ["gone"]);
  equal(sink.writes.length, 1);
});

Deno.test("FrameWriter.send() throws for a frame above its limit and queues nothing of it", async () => {
  const { sink, writer } = create();
  throws(() => writer.send({}, new Uint8Array(1_000)), FrameError);
  writer.send("next");
  const write = await sink.at(0);
  deepEqual(write.bytes, encodeFrame("next"));
  write.take();
  await writer.flush();
});

Deno.test("FrameWriter drops everything after close()", async () => {
  const { sink, writer, errors } = create();
  writer.close();
  writer.send(1);
  await writer.flush();
  await writer.room();
  deepEqual([sink.writes.length, errors.length], [0, 0]);
});

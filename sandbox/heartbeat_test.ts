import { deepEqual, equal } from "node:assert/strict";
import { type BeatingCell, Heartbeat, Pulse } from "./heartbeat.ts";
import { TestingClock } from "./testing_clock.ts";

/** A cell that answers when the test says so. */
class FakeCell implements BeatingCell {
  readonly pulse = new Pulse();
  takesPings = true;
  readonly pings: number[] = [];
  readonly silences: number[] = [];

  constructor(private readonly answers: boolean) {}

  ping(nonce: number): void {
    this.pings.push(nonce);
    if (this.answers) equal(this.pulse.answer(nonce), true);
  }

  unresponsive(silentMs: number): void {
    this.takesPings = false;
    this.silences.push(silentMs);
  }
}

function createHeartbeat(...cells: BeatingCell[]) {
  const clock = new TestingClock();
  const heartbeat = new Heartbeat({ intervalMs: 100, timeoutMs: 500 }, clock);
  for (const cell of cells) heartbeat.add(cell);
  return { clock, heartbeat };
}

Deno.test("Heartbeat pings each cell in each interval, and one that answers lives on", () => {
  const cell = new FakeCell(true);
  const { clock } = createHeartbeat(cell);
  clock.advance(99);
  deepEqual(cell.pings, []);
  clock.advance(901);
  deepEqual([cell.pings.length, cell.silences], [10, []]);
});

Deno.test("Heartbeat tells of a cell that answers nothing for the time-out, and of no other", () => {
  const [silent, healthy] = [new FakeCell(false), new FakeCell(true)];
  const { clock } = createHeartbeat(silent, healthy);
  clock.advance(599);
  deepEqual(silent.silences, []);
  clock.advance(1);
  deepEqual(silent.silences, [500]);
  // A cell that does not read is not sent more.
  deepEqual(silent.pings, [1]);
  clock.advance(10_000);
  deepEqual([silent.silences, healthy.silences], [[500], []]);
});

Deno.test("Heartbeat takes an answer that comes late, but in time", () => {
  const cell = new FakeCell(false);
  const { clock } = createHeartbeat(cell);
  for (let round = 1; round <= 5; round++) {
    clock.advance(450);
    equal(cell.pulse.answer(cell.pings.at(-1) ?? 0), true);
  }
  deepEqual(cell.silences, []);
});

Deno.test("Heartbeat begins anew after the kernel was held up: the answers may not have been read yet", () => {
  const cell = new FakeCell(false);
  const { clock } = createHeartbeat(cell);
  clock.advance(550);
  clock.holdUp(60_000);
  deepEqual(cell.silences, []);
  clock.advance(499);
  deepEqual(cell.silences, []);
  clock.advance(1);
  deepEqual(cell.silences, [500]);
});

Deno.test("Heartbeat does not count the time in which a cell is suspended, and sends it nothing", () => {
  const cell = new FakeCell(false);
  const { clock } = createHeartbeat(cell);
  clock.advance(450);
  cell.takesPings = false;
  clock.advance(60_000);
  cell.takesPings = true;
  clock.advance(400);
  deepEqual([cell.silences, cell.pings], [[], [1]]);
  equal(cell.pulse.answer(1), true);
  clock.advance(100);
  deepEqual([cell.silences, cell.pings], [[], [1, 2]]);
});

Deno.test("Heartbeat counts nothing of the time in which a cell rests, and all of the rest", () => {
  const asked = new FakeCell(false);
  const { clock } = createHeartbeat(asked);
  clock.advance(450);
  asked.pulse.rest(clock.nowMs(), 1_000);
  clock.advance(1_100);
  deepEqual(asked.silences, []);
  clock.advance(50);
  deepEqual(asked.silences, [500]);
});

Deno.test("Heartbeat counts nothing of a rest that began before it asked", () => {
  const cell = new FakeCell(false);
  const { clock } = createHeartbeat(cell);
  cell.pulse.rest(clock.nowMs(), 600);
  cell.pulse.rest(clock.nowMs(), 400);
  clock.advance(1_450);
  deepEqual([cell.pings, cell.silences], [[1], []]);
  clock.advance(50);
  deepEqual(cell.silences, [500]);
});

Deno.test("Heartbeat leaves a cell its rest after the kernel was held up", () => {
  const cell = new FakeCell(false);
  const { clock } = createHeartbeat(cell);
  clock.advance(100);
  clock.holdUp(1_000);
  cell.pulse.rest(clock.nowMs(), 1_000);
  clock.holdUp(200);
  clock.advance(1_250);
  deepEqual(cell.silences, []);
  clock.advance(100);
  deepEqual(cell.silences.length, 1);
});

Deno.test("Heartbeat has no timer without cells", () => {
  const [a, b] = [new FakeCell(true), new FakeCell(true)];
  const { clock, heartbeat } = createHeartbeat(a, b);
  heartbeat.delete(a);
  equal(clock.isTimerSet, true);
  heartbeat.delete(b);
  equal(clock.isTimerSet, false);
  heartbeat.add(a);
  clock.advance(100);
  deepEqual(a.pings, [1]);
});

Deno.test("Pulse takes the answer to the ping under way, once, and no other", () => {
  const pulse = new Pulse();
  equal(pulse.answer(0), false);
  equal(pulse.answer(1), false);
  const first = pulse.ask(0);
  deepEqual([pulse.answer(first + 1), pulse.answer(first), pulse.answer(first)], [false, true, false]);
  const second = pulse.ask(0);
  deepEqual([pulse.answer(first), pulse.answer(second)], [false, true]);
});

import { deepEqual, equal, ok } from "node:assert/strict";
import { TurnKeeper } from "./turn_keeper.ts";

class FakeMonitor {
  isHeld = false;

  constructor(readonly cores: number, public takesTurns: boolean) {}

  hold(): void {
    this.isHeld = true;
  }

  release(): void {
    this.isHeld = false;
  }
}

/** A process 0 is not there, and wants nothing. */
function keep(monitors: readonly FakeMonitor[], kernelPid = 0) {
  const keeper = new TurnKeeper<FakeMonitor>({ kernelPid, cores: 2, config: { greedyPercentMin: 25 } });
  let nowMs = 0;
  return () => {
    keeper.look(monitors, nowMs += 50);
    return monitors.map(({ isHeld }) => isHeld);
  };
}

Deno.test("TurnKeeper lets one greedy cell run at a time where others want the CPU, and never stops those", () => {
  const look = keep([new FakeMonitor(1, true), new FakeMonitor(1, true), new FakeMonitor(0.8, false)]);
  const looks = Array.from({ length: 4 }, look);
  deepEqual(looks, [[false, true, false], [true, true, false], [true, false, false], [true, true, false]]);
});

Deno.test("TurnKeeper lets go of who takes no more turns, and of all where there is enough", () => {
  const [greedy, other, modest] = [
    new FakeMonitor(1, true),
    new FakeMonitor(1, true),
    new FakeMonitor(0.8, false),
  ];
  const look = keep([greedy, other, modest]);
  deepEqual([look(), look()], [[false, true, false], [true, true, false]]);
  // With the second alone, what both want is there.
  greedy.takesTurns = false;
  Object.assign(greedy, { cores: 0.1 });
  deepEqual(look(), [false, false, false]);
  other.takesTurns = false;
  deepEqual(look(), [false, false, false]);
});

Deno.test("TurnKeeper counts what the kernel wants", () => {
  const cells = () => [new FakeMonitor(1, true), new FakeMonitor(1, true)];
  const [free, beside] = [keep(cells()), keep(cells(), Deno.pid)];
  const held = { free: 0, beside: 0 };
  for (let look = 0; look < 20; look++) {
    // This process is the kernel, and computes.
    for (const endMs = performance.now() + 20; performance.now() < endMs;);
    held.free += free().filter((isHeld) => isHeld).length;
    held.beside += beside().filter((isHeld) => isHeld).length;
  }
  equal(held.free, 0);
  ok(held.beside > 0);
});

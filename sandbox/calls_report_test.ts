import { deepEqual, equal, ok } from "node:assert/strict";
import { reportedCallsMax } from "../schemas/warden_protocol.ts";
import { CallsReport, type ReportedCalls } from "./calls_report.ts";
import { TestingClock } from "./testing_clock.ts";

type Report = [cell: string, count: number, ids: number[]];

/** A cell whose calls begin and end when the test says so. */
class FakeCalls implements ReportedCalls {
  readonly #ids = new Set<number>();
  newest = 0;

  constructor(private readonly cell: string, private readonly report: CallsReport) {}

  get count(): number {
    return this.#ids.size;
  }

  oldest(max: number): number[] {
    return [...this.#ids].slice(0, max);
  }

  begin(): number {
    this.#ids.add(++this.newest);
    this.report.began(this.cell, this);
    return this.newest;
  }

  end(id: number): void {
    this.#ids.delete(id);
  }
}

function createReport() {
  const clock = new TestingClock();
  const reports: Report[] = [];
  const report = new CallsReport({
    intervalMs: 50,
    report: (cell, count, ids) => reports.push([cell, count, ids]),
  }, clock);
  /** What was reported since the last time. */
  const reported = () => reports.splice(0);
  return { clock, report, reported };
}

Deno.test("CallsReport reports the first call of an idle cell at once, and later only what changed", () => {
  const { clock, report, reported } = createReport();
  const calls = new FakeCalls("a", report);
  const first = calls.begin();
  deepEqual(reported(), [["a", 1, [1]]]);
  calls.begin();
  calls.begin();
  deepEqual(reported(), []);
  clock.advance(50);
  deepEqual(reported(), [["a", 3, [1, 2, 3]]]);
  clock.advance(500);
  deepEqual(reported(), []);
  calls.end(first);
  clock.advance(50);
  deepEqual(reported(), [["a", 2, [2, 3]]]);
  // As many as before, and others.
  calls.end(2);
  calls.begin();
  clock.advance(50);
  deepEqual(reported(), [["a", 2, [3, 4]]]);
});

Deno.test("CallsReport reports a cell as idle when a whole interval had no call, and then sets no timer", () => {
  const { clock, report, reported } = createReport();
  const calls = new FakeCalls("a", report);
  calls.end(calls.begin());
  clock.advance(50);
  deepEqual(reported(), [["a", 1, [1]]]);
  clock.advance(49);
  deepEqual(reported(), []);
  clock.advance(1);
  deepEqual(reported(), [["a", 0, []]]);
  equal(clock.isTimerSet, false);
  calls.begin();
  deepEqual(reported(), [["a", 1, [2]]]);
});

// Else the CPU time of all calls that follow would be charged to the one that was reported.
Deno.test("CallsReport names the last call of a cell that it finds between two, at most once an interval", () => {
  const { clock, report, reported } = createReport();
  const calls = new FakeCalls("a", report);
  for (let interval = 0; interval < 100; interval++) {
    for (let call = 0; call < 50; call++) calls.end(calls.begin());
    clock.advance(50);
  }
  const found = reported();
  equal(found.length, 101);
  deepEqual(found.slice(1).map(([, count, ids]) => [count, ids]), [
    ...Array.from({ length: 100 }, (_, index) => [1, [(index + 1) * 50]]),
  ]);
});

Deno.test("CallsReport names the oldest calls, and counts all", () => {
  const { clock, report, reported } = createReport();
  const calls = new FakeCalls("a", report);
  for (let call = 0; call < 100; call++) calls.begin();
  clock.advance(50);
  const [, [, count, ids] = ["", 0, []]] = reported();
  deepEqual([count, ids.length, ids[0]], [100, reportedCallsMax, 1]);
});

Deno.test("CallsReport has one timer for all cells, and forgets a cell that has ended", () => {
  const { clock, report, reported } = createReport();
  const cells = ["a", "b", "c"].map((cell) => new FakeCalls(cell, report));
  for (const calls of cells) calls.begin();
  equal(clock.timersSet, 1);
  equal(reported().length, 3);
  report.forget("a");
  report.forget("b");
  for (const calls of cells) calls.end(1);
  clock.advance(100);
  deepEqual(reported(), [["c", 0, []]]);
  ok(!clock.isTimerSet);
  cells[2]?.begin();
  report.forget("c");
  ok(!clock.isTimerSet);
});

import { deepEqual } from "node:assert/strict";
import type { LedgerRecord } from "../schemas/ledger_event.ts";
import { type EndedLife, LifeReader } from "./life_reader.ts";

type Event = [type: string, data?: LedgerRecord["data"]];

const started: Event = ["kernel.started"];
const stopped: Event = ["kernel.stopped"];
const accepted: Event = ["call.accepted"];
const completed = (call: number): Event => ["call.completed", { accepted: call }];
const failed = (call: number): Event => ["call.failed", { accepted: call }];
const recovered = (...calls: number[]): Event => ["kernel.recovered", { calls }];

/** What is found in a log whose records from `first` on are these. */
function endOf(events: Event[], { first = 0, limit = 10 } = {}): EndedLife | undefined {
  const reader = new LifeReader(limit);
  for (const [index, [type, data = {}]] of events.entries()) reader.take({ seq: first + index, type, data });
  return reader.ended();
}

const life = (started: number, calls: number[], isComplete = true) => ({ started, calls, isComplete });

const cases: [name: string, events: Event[], options: { first?: number; limit?: number }, unknown][] = [
  ["nothing in an empty log", [], {}, undefined],
  ["nothing in a log that no kernel has started on", [["ledger.created"]], {}, undefined],
  ["nothing after a stop", [["ledger.created"], started, accepted, completed(2), stopped], {}, undefined],
  ["nothing after a stop, in the last records alone", [["token.refused"], stopped], { first: 90 }, undefined],
  ["a life that was cut off", [["ledger.created"], started], {}, life(1, [])],
  [
    "the calls without an outcome",
    [["ledger.created"], started, accepted, accepted, accepted, failed(3), accepted, completed(2)],
    {},
    life(1, [4, 6]),
  ],
  ["the last life only", [["ledger.created"], started, accepted, started, accepted], {}, life(3, [4])],
  ["nothing that was told", [["ledger.created"], started, accepted, recovered(2)], {}, undefined],
  [
    "what was not told before the next crash",
    [["ledger.created"], started, accepted, accepted, recovered(2)],
    {},
    life(1, [3]),
  ],
  ["calls that a failed kernel left", [["ledger.created"], started, accepted, stopped], {}, life(1, [2])],
  [
    "a life whose begin was not read",
    [accepted, accepted, completed(91)],
    { first: 90 },
    life(-1, [90], false),
  ],
  ["a begin among the last records", [completed(7), started, accepted], { first: 90 }, life(91, [92])],
  [
    "no more calls than its limit",
    [["ledger.created"], started, accepted, accepted, accepted],
    { limit: 2 },
    life(1, [2, 3], false),
  ],
];

for (const [name, events, options, expected] of cases) {
  Deno.test(`LifeReader finds ${name}`, () => {
    deepEqual(endOf(events, options), expected);
  });
}

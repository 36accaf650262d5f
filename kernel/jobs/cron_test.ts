import { deepEqual, equal, ok, throws } from "node:assert/strict";
import { ProblemError } from "../../schemas/problem.ts";
import { parseCron } from "./cron.ts";

function timesOf(expression: string, timeZone: string, after: string, count: number): (string | undefined)[] {
  const cron = parseCron(expression, timeZone);
  let atMs: number | undefined = Date.parse(after);
  return Array.from({ length: count }, () => {
    if (atMs !== undefined) atMs = cron.nextAt(atMs);
    return atMs === undefined ? undefined : new Date(atMs).toISOString().slice(0, 16);
  });
}

function pathOf(expression: string, timeZone = "UTC"): string | undefined {
  let path: string | undefined;
  throws(() => parseCron(expression, timeZone), (error) => {
    ok(error instanceof ProblemError);
    equal(error.code, "INPUT_INVALID");
    path = error.options.errors?.[0]?.path;
    return true;
  });
  return path;
}

Deno.test("parseCron() names times after the instant, never the instant", () => {
  const { nextAt } = parseCron("* * * * *", "UTC");
  deepEqual([-1, 0, 1, 59_999, 60_000].map(nextAt), [0, 60_000, 60_000, 60_000, 120_000]);
});

Deno.test("parseCron() names 02:30 once on the day on which clocks go forward", () => {
  deepEqual(timesOf("30 2 * * *", "Europe/Berlin", "2026-03-27T12:00Z", 3), [
    "2026-03-28T01:30",
    "2026-03-29T01:00", // 03:00 there: it is the first time that there is.
    "2026-03-30T00:30",
  ]);
});

Deno.test("parseCron() names 02:30 once on the day on which clocks go back", () => {
  deepEqual(timesOf("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00Z", 2), [
    "2026-10-25T00:30",
    "2026-10-26T01:30",
  ]);
});

Deno.test("parseCron() names each of several times a day as often as it comes", () => {
  deepEqual(timesOf("0,30 2 * * *", "Europe/Berlin", "2026-10-24T12:00Z", 5), [
    "2026-10-25T00:00",
    "2026-10-25T00:30",
    "2026-10-25T01:00",
    "2026-10-25T01:30",
    "2026-10-26T01:00",
  ]);
  deepEqual(timesOf("0,30 2 * * *", "Europe/Berlin", "2026-03-28T12:00Z", 1), ["2026-03-30T00:00"]);
});

Deno.test("parseCron() knows leap days, and expressions that name no time", () => {
  deepEqual(timesOf("0 0 29 2 *", "UTC", "2097-01-01T00:00Z", 2), ["2104-02-29T00:00", "2108-02-29T00:00"]);
  deepEqual(timesOf("0 0 30 2 *", "UTC", "2026-01-01T00:00Z", 1), [undefined]);
});

Deno.test("parseCron() takes five fields only", () => {
  const wrong = [
    ...["", "*", "* * * *", "* * * * * *", "0 0 0 1 1 1 2030", "@daily", "@reboot", "2030-01-01T00:00:00"],
    ...["60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "*/0 * * * *", "a * * * *"],
    ...["2030-01-01T00:00 1 1 1 1", "5-1 * * * *", "* * * FOO *", "1e3 * * * *"],
  ];
  for (const expression of wrong) equal(pathOf(expression), "/cron", expression);
  ok(parseCron("  0\t9-17/2  1,15 JAN-MAR MON#1 ", "UTC"));
});

Deno.test("parseCron() takes names of time zones only, and names the nearest", () => {
  for (
    const zone of ["Europe/Berln", "Mars/Olympus", "+01:00", "-05:00", "", "__proto__", "Europe/Berlin "]
  ) {
    equal(pathOf("* * * * *", zone), "/timeZone", zone);
  }
  throws(() => parseCron("* * * * *", "Europe/Berln"), /did you mean "Europe\/Berlin"\?/);
  ok(parseCron("* * * * *", "europe/berlin"));
});

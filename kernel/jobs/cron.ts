/**
 * A cron expression names times in a time zone: minutes, in five fields.
 *
 * The grammar is croner's, as in Vixie cron, with `L`, `W` and `#`; its nicknames, seconds and years are refused.
 * Where clocks change: of one fixed time a day, as `30 2 * * *`, a time that is skipped is named when the clock
 * has gone on, and one that comes twice is named the first time only; an expression with several times a day, as
 * `0,30 2 * * *`, does not name what is skipped, and names both of what comes twice. Pure.
 *
 * @module
 */
import { Cron } from "croner";
import { nearestName } from "../../schemas/nearest_name.ts";
import { ProblemError } from "../../schemas/problem.ts";

export interface CronTimes {
  /** The first time after an instant; undefined: there is none. */
  nextAt(afterMs: number): number | undefined;
}

const fieldsPattern = /^[^\s:@]+(?:[ \t]+[^\s:@]+){4}$/;

/** Throws ProblemError INPUT_INVALID, at `/cron` or `/timeZone`; for an expression that names no time too. */
export function parseCron(expression: string, timeZone: string): CronTimes {
  const timezone = parseTimeZone(timeZone);
  const text = expression.trim();
  if (!fieldsPattern.test(text)) throw refuse("/cron", expression, "must have five fields");
  let cron: Cron;
  try {
    cron = new Cron(text, { timezone, mode: "5-part", paused: true });
  } catch (error) {
    // What it throws for a bad expression are plain errors; there is nothing else that it does here.
    const message = error instanceof Error ? error.message : String(error);
    throw refuse("/cron", expression, message.replace(/^CronPattern: /, ""), error);
  }
  return { nextAt: (afterMs) => cron.nextRun(new Date(afterMs))?.getTime() };
}

/** The name as it is written; croner keeps what it made for each that it ever saw. */
function parseTimeZone(name: string): string {
  try {
    // An offset is no zone: it would not know of summer time.
    if (/^[A-Za-z]/.test(name)) {
      return new Intl.DateTimeFormat("en", { timeZone: name }).resolvedOptions().timeZone;
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
  }
  const nearest = nearestName(name, Intl.supportedValuesOf("timeZone"));
  const hint = nearest === undefined ? "" : `; did you mean "${nearest}"?`;
  throw refuse("/timeZone", name, `must be the name of a time zone, as Europe/Berlin${hint}`);
}

function refuse(path: string, thing: string, message: string, cause?: unknown): ProblemError {
  return new ProblemError("INPUT_INVALID", `Cannot schedule "${thing}": ${message}`, {
    errors: [{ path, message }],
    cause,
  });
}

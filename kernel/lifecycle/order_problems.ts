/**
 * What is told of an order that a plugin cannot carry out. Pure.
 *
 * @module
 */
import { ProblemError } from "../../schemas/problem.ts";

type Act = "start" | "suspend" | "resume";

/** What the sandbox told stays as it is; anything else is a fault of ours. */
export function asProblem(error: unknown, act: Act, plugin: string): ProblemError {
  if (error instanceof ProblemError) return error;
  return new ProblemError("INTERNAL", `Cannot ${act} plugin "${plugin}"`, { cause: error });
}

export function conflict(act: Act, plugin: string, state: string): ProblemError {
  return new ProblemError("CONFLICT", `Cannot ${act} plugin "${plugin}": ${state}`);
}

/** A start that was not even tried: no failure of it is recorded. */
export function isNotTried({ code }: ProblemError): boolean {
  return code === "QUEUE_FULL" || code === "NOT_READY";
}

/**
 * Tests that hold in both isolation tiers, and those that need something of the machine: where it is
 * missing they are skipped by name, with the command that installs it.
 *
 * @module
 */
import type { Isolation } from "../../schemas/capabilities.ts";
import { isSealedAvailable } from "./airlock.ts";
import { hasProgram } from "./processes.ts";

const isSealedHere = await isSealedAvailable();

/** One test for each tier, named after it. */
export function testInEachTier(name: string, run: (tier: Isolation) => Promise<void>): void {
  Deno.test(`${name} (process)`, () => run("process"));
  testSealed(`${name} (sealed)`, () => run("sealed"));
}

/** A test of the sealed tier. */
export function testSealed(name: string, run: () => Promise<void>): void {
  testWith(["bwrap"], name, run);
}

const packages: Record<string, string> = { bwrap: "bubblewrap", git: "git", curl: "curl" };

/** A test that needs programs. `bwrap` stands for one that works: a container may forbid it. */
export function testWith(programs: readonly string[], name: string, run: () => Promise<void>): void {
  const missing = programs.filter((program) => program === "bwrap" ? !isSealedHere : !hasProgram(program));
  const install = missing.map((program) => packages[program] ?? program).join(" ");
  const skipped = `${name} [skipped: apt-get install ${install}]`;
  Deno.test({ name: missing.length > 0 ? skipped : name, ignore: missing.length > 0, fn: run });
}

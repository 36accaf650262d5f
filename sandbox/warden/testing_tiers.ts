/**
 * What tests of real cells and folders need: one test for each tier, a folder that goes, a wait for a state.
 *
 * Only `*_test.ts` files import this.
 *
 * @module
 */
import { ok } from "node:assert/strict";
import type { Isolation } from "../../schemas/capabilities.ts";
import { chooseTier, findHostPrograms } from "./host_programs.ts";

const bundleDir = decodeURIComponent(new URL("../dist", import.meta.url).pathname);
const { tier: best } = await chooseTier("auto", findHostPrograms(Deno.env.get("PATH") ?? ""), {
  ...{ bundleDir, socket: "/dev/null", temporaryDir: "/tmp", auditPipe: undefined },
});

/** One test for each tier, named after it. */
export function testInEachTier(name: string, run: (tier: Isolation) => Promise<void>): void {
  Deno.test(`${name} (process)`, () => run("process"));
  testSealed(`${name} (sealed)`, () => run("sealed"));
}

/** A test of the sealed tier, skipped by name where there is none. */
export function testSealed(name: string, run: () => Promise<void>): void {
  const ignore = best !== "sealed";
  Deno.test({ name: ignore ? `${name} [skipped: apt-get install bubblewrap]` : name, ignore, fn: run });
}

/** A folder that goes when it is disposed. */
export async function temporaryFolder(): Promise<{ readonly path: string } & AsyncDisposable> {
  const path = await Deno.realPath(await Deno.makeTempDir({ prefix: "warden-" }));
  return { path, [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }) };
}

/** Polls until `condition` holds. Fails with `what` at the deadline. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  deadlineMs = 5_000,
): Promise<void> {
  const startedMs = performance.now();
  while (!await condition()) {
    ok(performance.now() - startedMs < deadlineMs, `not within ${deadlineMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

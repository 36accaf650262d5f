import { rejects } from "node:assert/strict";
import { within } from "./within.ts";

// A timer that stays behind fails the test: the sanitizers are on.
Deno.test("within() leaves no timer behind, whichever way the work ends", async () => {
  await within(60_000, Promise.resolve());
  await rejects(within(60_000, Promise.reject(new Error("it failed"))), /it failed/);
});

Deno.test("within() waits no longer than it may, and takes a failure that comes later", async () => {
  const { promise, reject } = Promise.withResolvers<never>();
  await within(1, promise);
  reject(new Error("too late"));
});

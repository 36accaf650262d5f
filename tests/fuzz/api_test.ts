/**
 * Fuzzing of the HTTP API: whatever is asked of any route, by whomever, is answered as the API says, and never by
 * a failure of Airlock.
 *
 *     deno task fuzz         100,000 cases, 70,000 of them here; -- CASES SEED for others
 *     deno task test         about 2,000
 *
 * @module
 */
import { fail } from "node:assert/strict";
import fc from "fast-check";
import { Answers } from "./answers.ts";
import { parseApiDocument } from "./api_document.ts";
import { HttpConnection } from "./http_connection.ts";
import { type RequestCase, requestsOf } from "./requests.ts";
import { curlOf, toWire } from "./wire_request.ts";
import { extentAsked, startWorld, tell, type World } from "./world.ts";

/** Requests under way at once. */
const lanes = 32;
/** Requests that one fault is made smaller with. */
const shrinksMax = 500;
const { cases, seed, isLongRun } = extentAsked(0.7);

Deno.test(`the API answers ${cases} requests of any kind (seed ${seed}) without a failure of Airlock`, async () => {
  await using world = await startWorld();
  const document = parseApiDocument((await world.airlock.request("GET", "/openapi.json")).body);
  const answers = new Answers(document);
  const requests = requestsOf(document);
  const port = Number(new URL(world.airlock.url).port);
  const progress = { done: 0, isOver: false };
  const startedMs = performance.now();
  const failures = await Promise.all(Array.from({ length: lanes }, async (_, lane) => {
    using connection = new HttpConnection(port);
    let shrinksLeft = shrinksMax;
    const property = fc.asyncProperty(requests, async (request) => {
      // Another one has found something: what is left would only hide it.
      if (progress.isOver || shrinksLeft <= 0) return;
      progress.done += 1;
      if (isLongRun && progress.done % 5_000 === 0) tell(`${progress.done} requests`);
      try {
        await send(connection, request, world, answers);
        if (shrinksLeft < shrinksMax) shrinksLeft -= 1;
      } catch (error) {
        if (isLongRun && shrinksLeft === shrinksMax) tell(`found: ${String(error).slice(0, 4_000)}`);
        shrinksLeft -= 1;
        throw error;
      }
    });
    const result = await fc.check(property, { numRuns: Math.ceil(cases / lanes), seed: seed + lane });
    if (!result.failed) return [];
    progress.isOver = true;
    return [
      result.errorInstance instanceof Error ? result.errorInstance.message : String(result.errorInstance),
    ];
  }));
  if (isLongRun) report(progress.done, performance.now() - startedMs, answers);
  const found = failures.flat();
  if (found.length > 0) found.push(...world.errors());
  if (found.length > 0) fail(`${found.length} found with seed ${seed}:\n${found.join("\n\n")}`);
  await world.check();
});

async function send(
  connection: HttpConnection,
  request: RequestCase,
  world: World,
  answers: Answers,
): Promise<void> {
  const wire = toWire(request, world);
  if (request.framing === "abandoned" && wire.body !== undefined) {
    return await connection.abandon(
      wire.bytes.subarray(0, wire.bytes.length - Math.ceil(wire.body.length / 2)),
    );
  }
  try {
    const answer = await connection.request(wire.bytes, { isHead: request.method === "HEAD" });
    const value = answers.check(wire, request.operation, answer);
    if (answer.status < 300) remember(world, wire.target, value);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw new Error(`${message}\n  ${curlOf(wire, world.airlock.url)}`, { cause: error });
  }
}

/** Ids that were made, for requests to come. */
function remember({ pools }: World, target: string, value: unknown): void {
  const collection = /^\/v1\/([a-z]+)$/.exec(target)?.[1];
  if (collection === undefined || typeof value !== "object" || value === null) return;
  // A pipeline is a job.
  if ("id" in value && typeof value.id === "string") {
    pools.add(collection === "pipelines" ? "jobs" : collection, value.id);
  }
}

function report(done: number, ms: number, { counts }: Answers): void {
  tell(`${done} requests in ${Math.round(ms / 1_000)} s`);
  for (const [what, count] of [...counts].sort()) tell(`  ${what}: ${count}`);
}

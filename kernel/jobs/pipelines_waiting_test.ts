import { deepEqual, ok } from "node:assert/strict";
import { pipelineRequestSchema } from "../../schemas/pipeline.ts";
import { Pipelines, storedPlan } from "./pipelines.ts";
import { createTestingQueue } from "./testing_queue.ts";

const wide = { inputBytesMax: 1_000_000, outputBytesMax: 1_000_000, batchBytesMax: 1_000_000 };

Deno.test("Pipelines: a map adds no more jobs than may wait, of its actor and of all, and comes to its end", () => {
  for (
    const config of [{ waitingMax: 99, waitingPerActorMax: 5 }, { waitingMax: 5, waitingPerActorMax: 99 }]
  ) {
    using world = createTestingQueue();
    const { queue, store: { jobs: table } } = world;
    let ids = 1_000;
    const newId = () => `01${String(++ids).padStart(24, "0")}`;
    const events = { stageLog: () => true };
    const pipelines = new Pipelines({
      ...{ table, queue, events, limits: wide, newId, nowMs: () => 0, hasRoom: () => true, config },
    });
    const steps = [{ id: "m", plugin: "p", action: "a", map: Array(20).fill(0) }];
    const stored = storedPlan(pipelineRequestSchema.parse({ steps }));
    const lease = (seq: number) => ({ jobId: `${seq}`, token: 1, life: "l", untilMs: Infinity });
    const { value: pipeline } = world.commit(() => {
      const row = world.insert({ kind: "pipeline", plugin: null, action: null });
      Object.assign(table, { input: () => new TextEncoder().encode(stored) });
      const claimed = queue.claim(row.seq, lease(row.seq), { isIdempotent: true, policy: null });
      pipelines.began(claimed);
      pipelines.advance();
      return claimed;
    });
    deepEqual(queue.waiting.all, 5);
    // Another takes all the room: one of its own may wait even so.
    world.commit(() => void [1, 2, 3, 4, 5, 6].map(() => world.insert()));
    let ended = 0;
    for (let turns = 0; table.get(pipeline.seq)?.state === "running"; turns++) {
      ok(turns < 50);
      world.commit(() => {
        for (const child of table.openChildren(pipeline.seq, 9)) {
          queue.complete(
            queue.claim(child.seq, lease(child.seq), { isIdempotent: true, policy: null }),
            new TextEncoder().encode("1"),
            "",
          );
          ended++;
        }
        pipelines.advance();
        ok(queue.waiting.all <= 7, `${queue.waiting.all}`);
      });
    }
    deepEqual([ended, table.get(pipeline.seq)?.state], [20, "completed"]);
  }
});

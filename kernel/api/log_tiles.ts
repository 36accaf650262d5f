/**
 * The log as https://c2sp.org/tlog-tiles serves one, under `/log/`: its checkpoint, its tiles of hashes and its
 * tiles of entries, for the monitors and witnesses of others.
 *
 * Invariant: a tile has one address. A full one never changes and may be kept for ever.
 *
 * @module
 */
import { createRoute, z } from "@hono/zod-openapi";
import type { MiddlewareHandler } from "hono";
import { ProblemError } from "../../schemas/problem.ts";
import { parseTilePath, tileWidth } from "../ledger/tile_path.ts";
import { admitToLog } from "./authenticate.ts";
import type { Api, ApiEnv, ApiKernel } from "./context.ts";
import { holdSlot, ReadSlots } from "./read_slots.ts";
import { file, text, tokenProblems } from "./responses.ts";

const contentType = "application/octet-stream";
const keptSeconds = 31_536_000;
const description = "Needs the role `viewer`; nothing where `ledger.public` is set.";

export function registerLogTiles(app: Api, kernel: ApiKernel): void {
  const { ledger, config } = kernel;
  const security = config.ledger.public ? [] : [{ bearer: [] }];
  const admit: MiddlewareHandler<ApiEnv> = async (c, next) => {
    admitToLog(kernel, c);
    await next();
  };

  app.openapi(
    createRoute({
      method: "get",
      path: "/log/checkpoint",
      operationId: "getLogCheckpoint",
      tags: ["ledger"],
      summary: "Show the checkpoint, as c2sp.org/tlog-tiles places it",
      description,
      security,
      middleware: admit,
      responses: { 200: { description: "The signed note", content: text }, ...tokenProblems() },
    }),
    (c) => c.text(ledger.checkpoint().note, 200),
  );

  const tileRoute = createRoute({
    method: "get",
    path: "/log/tile/{path}",
    operationId: "getLogTile",
    tags: ["ledger"],
    summary: "Show a tile",
    description:
      `${description} \`path\` is \`<L>/<N>[.p/<W>]\` or \`entries/<N>[.p/<W>]\`, slashes and all, ` +
      "see c2sp.org/tlog-tiles. Also the partial tiles of every size that the log has had.",
    security,
    request: { params: z.object({ path: z.string() }) },
    responses: {
      200: file("Hashes of 32 bytes each; or entries, each behind its length in 16 bits", contentType),
      ...tokenProblems("NOT_FOUND", "QUEUE_FULL"),
    },
  });
  app.openAPIRegistry.registerPath(tileRoute);
  // They alone are large. Slots of their own: where the log is public, nobody can take those of callers.
  const slots = new ReadSlots({
    ...{ action: "read a tile", perCallerMax: 4, max: 32, retryAfterMs: 1_000 },
    ...{ waitingMax: 1_024, waitMs: 30_000 },
  });
  app.use("/log/tile/entries/*", admit, holdSlot(slots));
  const keptBy = config.ledger.public ? "public" : "private";
  app.get("/log/tile/:path{.+}", admit, async (c) => {
    const { path } = c.req;
    const place = parseTilePath(path.slice("/log/".length));
    const tile = place === undefined ? undefined : await ledger.reader.tile(place);
    if (tile === undefined) {
      throw new ProblemError("NOT_FOUND", `Cannot find "${path}": the log has no such tile`);
    }
    return c.body(tile, 200, {
      "content-type": contentType,
      "cache-control": place?.width === tileWidth
        ? `${keptBy}, max-age=${keptSeconds}, immutable`
        : "no-store",
    });
  });
}

/**
 * The ledger's keys: those that verify its checkpoints, and their rotation.
 *
 * @module
 */
import { createRoute } from "@hono/zod-openapi";
import { ledgerKeySchema } from "../../schemas/api.ts";
import { requireRole } from "./authenticate.ts";
import type { Api, ApiKernel } from "./context.ts";
import { acceptJsonBody } from "./json_body.ts";
import { bodyProblems, text, tokenProblems, writeProblems, written } from "./responses.ts";
import { checkpointHeader } from "./security_headers.ts";

export function registerLedgerKeys(app: Api, kernel: ApiKernel): void {
  const { ledger } = kernel;

  app.openapi(
    createRoute({
      method: "get",
      path: "/v1/ledger/key",
      operationId: "getLedgerKey",
      tags: ["ledger"],
      summary: "Show the verifier key",
      description:
        "Needs the role `viewer`. `name+hash+base64`, see c2sp.org/signed-note. While two keys sign, the newer " +
        "one stands on the first line and the older one on the second.",
      security: [{ bearer: [] }],
      middleware: requireRole(kernel, "viewer"),
      responses: { 200: { description: "The key", content: text }, ...tokenProblems() },
    }),
    (c) => c.text(ledger.verifierKeys.join("\n"), 200),
  );

  registerKeyChange(app, kernel, {
    verb: "rotate",
    summary: "Add a signing key; checkpoints carry both signatures until the older key is retired",
    change: (actor) => ledger.rotateKey(actor),
  });
  registerKeyChange(app, kernel, {
    verb: "retire",
    summary: "Retire the older one of two signing keys",
    change: (actor) => ledger.retireKey(actor),
  });
}

interface KeyChange {
  readonly verb: "rotate" | "retire";
  readonly summary: string;
  change(actor: string): ReturnType<ApiKernel["ledger"]["rotateKey"]>;
}

function registerKeyChange(app: Api, kernel: ApiKernel, { verb, summary, change }: KeyChange): void {
  app.openapi(
    createRoute({
      method: "post",
      path: `/v1/ledger/key/${verb}`,
      operationId: `${verb}LedgerKey`,
      tags: ["ledger"],
      summary,
      description:
        "Needs the role `admin`. No body. What became of it is an entry, signed by the older key too.",
      security: [{ bearer: [] }],
      middleware: [requireRole(kernel, "admin"), acceptJsonBody(kernel, { required: false })] as const,
      responses: {
        200: written("The key, and its entry", ledgerKeySchema.meta({ id: "LedgerKey" })),
        ...writeProblems(...bodyProblems, "CONFLICT"),
      },
    }),
    async (c) => {
      const { key, index, size, checkpoint } = await change(c.get("caller").actor);
      return c.json({ key, ledger: { index, size } }, 200, { [checkpointHeader]: checkpoint });
    },
  );
}

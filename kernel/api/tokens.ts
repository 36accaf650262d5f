/**
 * Tokens: list, create, revoke. A token's secret is in the answer that creates it and in no other.
 *
 * @module
 */
import { createRoute, z } from "@hono/zod-openapi";
import { listSchema, tokenCreatedSchema, tokenRequestSchema, tokenSchema } from "../../schemas/api.ts";
import { requireRole } from "./authenticate.ts";
import type { Api, ApiKernel } from "./context.ts";
import { acceptJsonBody } from "./json_body.ts";
import { pageQuery } from "./page.ts";
import { bodyProblems, json, tokenProblems, writeProblems, written } from "./responses.ts";
import { checkpointHeader } from "./security_headers.ts";

const token = tokenSchema.meta({ id: "Token" });

export function registerTokens(app: Api, kernel: ApiKernel): void {
  const admin = requireRole(kernel, "admin");

  app.openapi(
    createRoute({
      method: "get",
      path: "/v1/tokens",
      operationId: "listTokens",
      tags: ["tokens"],
      summary: "List tokens",
      description: "Needs the role `admin`. Revoked ones too; no secrets.",
      security: [{ bearer: [] }],
      middleware: admin,
      request: { query: pageQuery(100) },
      responses: { 200: json("Tokens", listSchema(token)), ...tokenProblems("INPUT_INVALID") },
    }),
    (c) => c.json(kernel.tokens.list(c.req.valid("query")), 200),
  );

  app.openapi(
    createRoute({
      method: "post",
      path: "/v1/tokens",
      operationId: "createToken",
      tags: ["tokens"],
      summary: "Create a token",
      description: "Needs the role `admin`. The answer is the only one that ever shows the secret.",
      security: [{ bearer: [] }],
      middleware: [admin, acceptJsonBody(kernel, { required: true })] as const,
      request: {
        body: {
          required: true,
          content: { "application/json": { schema: tokenRequestSchema.meta({ id: "TokenRequest" }) } },
        },
      },
      responses: {
        201: written("The token and its secret", tokenCreatedSchema.meta({ id: "TokenCreated" })),
        ...writeProblems(...bodyProblems, "INPUT_INVALID", "CONFLICT"),
      },
    }),
    async (c) => {
      const created = await kernel.tokens.create(c.req.valid("json"), c.get("caller").actor);
      const headers = { [checkpointHeader]: created.checkpoint };
      return c.json({ ...created.token, token: created.secret }, 201, headers);
    },
  );

  app.openapi(
    createRoute({
      method: "delete",
      path: "/v1/tokens/{id}",
      operationId: "revokeToken",
      tags: ["tokens"],
      summary: "Revoke a token",
      description: "Needs the role `admin`.",
      security: [{ bearer: [] }],
      middleware: admin,
      request: { params: z.object({ id: z.string() }) },
      responses: {
        200: written("The token, revoked", token),
        ...writeProblems("TOKEN_NOT_FOUND", "CONFLICT"),
      },
    }),
    async (c) => {
      const revoked = await kernel.tokens.revoke(c.req.valid("param").id, c.get("caller").actor);
      return c.json(revoked.token, 200, { [checkpointHeader]: revoked.checkpoint });
    },
  );
}

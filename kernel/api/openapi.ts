/**
 * The OpenAPI document, made from the same schemas that check the requests.
 *
 * @module
 */
import type { Api, ApiKernel } from "./context.ts";

/** Serves the document of all routes that are registered by the first request for it. */
export function registerOpenApi(app: Api, { version }: Pick<ApiKernel, "version">): void {
  app.openAPIRegistry.registerComponent("securitySchemes", "bearer", {
    type: "http",
    scheme: "bearer",
    description: "A token, with one of the roles `viewer`, `invoker`, `operator` and `admin`: each may do " +
      "what the ones before it may.",
  });

  // Made once, and late: the kernel should not wait for it when it starts.
  let document: string | undefined;
  app.get("/openapi.json", (c) => {
    document ??= JSON.stringify(app.getOpenAPI31Document({
      openapi: "3.1.0",
      info: {
        title: "Airlock",
        version,
        description:
          "Runs plugins that you did not write. Every failure is `application/problem+json` with a " +
          "`code` of a closed set; every answer to a write carries the signed checkpoint that covers it.",
      },
      servers: [{ url: "/" }],
    }));
    return c.body(document, 200, { "content-type": "application/json" });
  });
}

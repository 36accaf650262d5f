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
    document ??= JSON.stringify(
      app.getOpenAPI31Document({
        openapi: "3.1.0",
        info: {
          title: "Airlock",
          version,
          description:
            "Runs plugins that you did not write. Every failure is `application/problem+json` with a " +
            "`code` of a closed set; every answer to a write carries the signed checkpoint that covers it.",
        },
        servers: [{ url: "/" }],
      }),
      correct,
    );
    return c.body(document, 200, { "content-type": "application/json" });
  });
}

/**
 * What the generator makes wrong of JSON Schema: flags stay behind a pattern, which then fits nothing, and an
 * enumeration that may be null has no null in it. For `JSON.stringify`.
 */
function correct(key: string, value: unknown): unknown {
  if (key === "pattern" && typeof value === "string") return value.replace(/\$\/[a-z]+$/, "$");
  if (typeof value !== "object" || value === null || !("type" in value) || !("enum" in value)) return value;
  const { type, enum: values } = value;
  if (!Array.isArray(type) || !type.includes("null")) return value;
  if (!Array.isArray(values) || values.includes(null)) return value;
  return { ...value, enum: [...values, null] };
}

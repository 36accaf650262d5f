/**
 * A plan's hash names what a pipeline does: the same plan with the same input has the same, whatever the order
 * of members in the request, and whenever and for whom it runs. Pure.
 *
 * @module
 */
import { hash } from "node:crypto";
import type { PipelineRequest } from "../../../schemas/pipeline.ts";
import { canonicalJson } from "./canonical_json.ts";

/**
 * SHA-256, in hex, of the canonical JSON of `{ "input": …, "plan": { "onFailure", "steps", "stepsMax" } }`, with
 * the defaults of the schema filled in. Of a request that {@linkcode compilePlan} took, which bounds its depth.
 */
export function planSha256({ steps, onFailure, stepsMax, input }: PipelineRequest): string {
  return hash("sha256", canonicalJson({ plan: { steps, onFailure, stepsMax }, input }), "hex");
}

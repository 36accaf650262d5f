/**
 * A request's hash tells whether two requests under one idempotency key are the same one.
 *
 * It is over canonical JSON without the members that are at their defaults: neither the order of members nor a
 * default that is written out makes another request of it, and neither does a member that a later Airlock adds. Pure.
 *
 * @module
 */
import { hash } from "node:crypto";
import type { z } from "zod";
import { canonicalJson } from "./pipeline/canonical_json.ts";

/** SHA-256 of a request that `schema` gave, and whose depth is bounded. */
export function requestSha256(
  schema: { readonly shape: Readonly<Record<string, z.ZodType>> },
  request: Readonly<Record<string, unknown>>,
): Uint8Array<ArrayBuffer> {
  const told = Object.entries(request).filter(([name, member]) => {
    const initial = schema.shape[name]?.safeParse(undefined);
    return !(initial?.success && initial.data !== undefined && isSame(initial.data, member));
  });
  return new Uint8Array(hash("sha256", canonicalJson(Object.fromEntries(told)), "buffer"));
}

/** Defaults are scalars and empty containers: what somebody sent is not looked into, however large it is. */
function isSame(initial: unknown, member: unknown): boolean {
  if (typeof initial !== "object" || initial === null) return initial === member;
  if (typeof member !== "object" || member === null) return false;
  return isEmpty(initial) && isEmpty(member) && Array.isArray(initial) === Array.isArray(member);
}

function isEmpty(value: object): boolean {
  for (const name in value) if (Object.hasOwn(value, name)) return false;
  return true;
}

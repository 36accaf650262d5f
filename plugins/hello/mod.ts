/**
 * Hello is the smallest plugin: one action, no capabilities, a manifest of five keys.
 *
 * Its manifest has no input schema, so whatever a caller sends arrives here and is checked here. Pure.
 *
 * @module
 */
import type { Actions } from "airlock/sdk";

export const actions = {
  greet(input: unknown) {
    return { message: `Hello, ${parseName(input)}` };
  },
} satisfies Actions;

function parseName(input: unknown): string {
  if (typeof input !== "object" || input === null || Array.isArray(input)) {
    throw new TypeError('Cannot greet "input": it must be an object such as {"name": "Ada"}');
  }
  if (!("name" in input)) throw new TypeError('Cannot greet "name": it is missing');
  if (typeof input.name !== "string") throw new TypeError('Cannot greet "name": it must be a string');
  return input.name;
}

/**
 * Tests of the plugin `hello`, called directly, without a cell.
 *
 * @module
 */
import assert from "node:assert/strict";
import { actions } from "./hello/mod.ts";

Deno.test("greet() greets by name", () => {
  assert.deepEqual(actions.greet({ name: "Ada" }), { message: "Hello, Ada" });
});

Deno.test("greet() greets the empty name and ignores other members", () => {
  assert.deepEqual(actions.greet({ name: "", other: 1 }), { message: "Hello, " });
});

Deno.test("greet() refuses an input without a name", () => {
  assert.throws(() => actions.greet({}), { message: 'Cannot greet "name": it is missing' });
});

Deno.test("greet() refuses a name that is not a string", () => {
  for (const name of [null, 1, true, ["Ada"], { first: "Ada" }]) {
    assert.throws(() => actions.greet({ name }), { message: 'Cannot greet "name": it must be a string' });
  }
});

Deno.test("greet() refuses an input that is not an object", () => {
  for (const input of [undefined, null, "Ada", 1, ["Ada"]]) {
    assert.throws(() => actions.greet(input), { message: /^Cannot greet "input": it must be an object/ });
  }
});

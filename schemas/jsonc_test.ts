import assert from "node:assert/strict";
import fc from "fast-check";
import { parse } from "@std/jsonc";
import { nestingMax } from "./jsonc_tree.ts";

Deno.test("parse() takes comments and trailing commas", () => {
  assert.deepEqual(parse('// a\n{"a": [1, 2,], /* b */ "b": null,}'), { a: [1, 2], b: null });
  assert.equal(parse(' "x" '), "x");
});

Deno.test("parse() reads what JSON.stringify wrote", () => {
  fc.assert(fc.property(fc.json({ maxDepth: 6 }), (text) => assert.deepEqual(parse(text), JSON.parse(text))));
});

Deno.test("parse() throws SyntaxError with line and column", () => {
  const faulty: [string, RegExp][] = [
    ["", /Expected a value \(line 1, column 1\)/],
    ["// only a comment", /Expected a value/],
    ['{\n  "a": tru\n}', /Unexpected "tru".*\(line 2, column 8\)/],
    ['{"a": 1,, }', /line 1, column 9/],
    ['{"a": 1 "b": 2}', /Expected a comma/],
    ['{"a": 01}', /line 1/],
    ['["\\q"]', /escapes/],
    ["{'a': 1}", /double quotes/],
    ["[1] 2", /Expected nothing more/],
    ["/* x", /end of the comment/],
    ['["a\nb"]', /closing double quote/],
    ["[NaN]", /Unexpected "NaN"/],
  ];
  for (const [text, message] of faulty) {
    assert.throws(() => parse(text), { name: "SyntaxError", message }, text);
  }
});

Deno.test("parse() keeps a key named __proto__ a key", () => {
  const value = parse('{"__proto__": {"admin": true}}');
  assert.deepEqual(Object.keys(value as object), ["__proto__"]);
  assert.equal(Object.getPrototypeOf(value), Object.prototype);
});

Deno.test("parse() refuses deep nesting, well-formed or not, before it recurses", () => {
  assert.doesNotThrow(() => parse("[".repeat(nestingMax) + "]".repeat(nestingMax)));
  for (const unit of ["[", '{"a":', "[}", "{]", '[{"a" ]', "[:{,", '{"a" [,', "[{"]) {
    assert.throws(() => parse(unit.repeat(100_000)), SyntaxError, unit);
  }
});

Deno.test("parse() throws nothing but SyntaxError on a soup of tokens", () => {
  const token = fc.constantFrom("{", "}", "[", "]", ",", ":", '"a"', "1", "//", "\n", "/*", "x", '"', "\\");
  fc.assert(fc.property(fc.array(token, { maxLength: 400 }), (tokens) => {
    try {
      parse(tokens.join(""));
    } catch (error) {
      assert.ok(error instanceof SyntaxError);
    }
  }));
});

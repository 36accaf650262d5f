import { equal, throws } from "node:assert/strict";
import { canonicalJson } from "./canonical_json.ts";

// RFC 8785, section 3.2.2 and 3.2.3.
Deno.test("canonicalJson() gives the example of RFC 8785", () => {
  const value = JSON.parse(String.raw`{
    "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
    "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
    "literals": [null, true, false]
  }`);
  equal(
    canonicalJson(value),
    String.raw`{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],` +
      String.raw`"string":"€$\u000f\nA'B\"\\\\\"/"}`,
  );
});

Deno.test("canonicalJson() sorts names by UTF-16 code units, as in RFC 8785", () => {
  const value = JSON.parse(String.raw`{
    "\u20ac": "Euro Sign", "\r": "Carriage Return", "\ufb33": "Hebrew Letter Dalet With Dagesh", "1": "One",
    "\ud83d\ude00": "Emoji: Grinning Face", "\u0080": "Control", "\u00f6": "Latin Small Letter O With Diaeresis"
  }`);
  equal(
    [...canonicalJson(value).matchAll(/:"([^"]*)"/g)].map(([, text]) => text).join("|"),
    "Carriage Return|One|Control|Latin Small Letter O With Diaeresis|Euro Sign|Emoji: Grinning Face|" +
      "Hebrew Letter Dalet With Dagesh",
  );
});

// RFC 8785, appendix B.
for (
  const [bits, text] of [
    ["0000000000000000", "0"],
    ["8000000000000000", "0"],
    ["0000000000000001", "5e-324"],
    ["7fefffffffffffff", "1.7976931348623157e+308"],
    ["4340000000000000", "9007199254740992"],
    ["44b52d02c7e14af5", "9.999999999999997e+22"],
    ["44b52d02c7e14af6", "1e+23"],
    ["3eb0c6f7a0b5ed8d", "0.000001"],
    ["41b3de4355555557", "333333333.33333343"],
    ["becbf647612f3696", "-0.0000033333333333333333"],
    ["43143ff3c1cb0959", "1424953923781206.2"],
  ]
) {
  Deno.test(`canonicalJson() writes the number ${bits} as RFC 8785 does`, () => {
    const view = new DataView(Uint8Array.fromHex(bits).buffer);
    equal(canonicalJson(view.getFloat64(0)), text);
  });
}

Deno.test("canonicalJson() takes names that mean something to JavaScript, and half a surrogate pair", () => {
  equal(
    canonicalJson(JSON.parse('{"b":1,"__proto__":{"z":1,"a":2},"constructor":"\\ud800"}')),
    '{"__proto__":{"a":2,"z":1},"b":1,"constructor":"\\ud800"}',
  );
});

Deno.test("canonicalJson() leaves out what is undefined and refuses what is no JSON", () => {
  equal(canonicalJson({ b: undefined, a: 1 }), '{"a":1}');
  for (const value of [NaN, Infinity, 1n, undefined, () => 1]) {
    throws(() => canonicalJson([value]), TypeError);
  }
});

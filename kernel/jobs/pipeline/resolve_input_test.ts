import { equal, ok, throws } from "node:assert/strict";
import { BytesBudget, JsonText, resolveInput, UnresolvedError } from "./resolve_input.ts";

const at = (text: string, pointer: string) => JsonText.ofText(text).at(pointer)?.text;

// RFC 6901, section 5.
Deno.test("JsonText.at() follows the pointers of RFC 6901", () => {
  const text =
    '{"foo":["bar","baz"],"":0,"a/b":1,"c%d":2,"e^f":3,"g|h":4,"i\\\\j":5,"k\\"l":6," ":7,"m~n":8}';
  const pointers: [string, string][] = [
    ["", text],
    ["/foo", '["bar","baz"]'],
    ["/foo/0", '"bar"'],
    ["/", "0"],
    ["/a~1b", "1"],
    ["/c%d", "2"],
    ["/e^f", "3"],
    ["/g|h", "4"],
    ["/i\\j", "5"],
    ['/k"l', "6"],
    ["/ ", "7"],
    ["/m~0n", "8"],
  ];
  for (const [pointer, value] of pointers) equal(at(text, pointer), value);
});

Deno.test("JsonText.at() walks own members and items only", () => {
  const nowhere = [
    ["{}", "/__proto__"],
    ["{}", "/constructor/name"],
    ["{}", "/toString"],
    ["[1]", "/length"],
    ["[1]", "/-"],
    ["[1,2]", "/01"],
    ["[1,2]", "/1e0"],
    ["[1,2]", "/+1"],
    ["[1,2]", "/2"],
    ["[1,2]", "/99999999999999999999"],
    ["[1]", "/"],
    ['"text"', "/length"],
    ['"text"', "/0"],
    ["null", "/x"],
    ["1", "/toFixed"],
  ];
  for (const [text = "", pointer = ""] of nowhere) equal(at(text, pointer), undefined, pointer);
  equal(at('{"__proto__":{"constructor":1}}', "/__proto__/constructor"), "1");
});

// V8 writes some of it without recursion.
Deno.test("JsonText writes what a plugin nested deeper than a stack, or says that it cannot", () => {
  const deep = `{"€":${"[".repeat(100_000)}${"]".repeat(100_000)}}`;
  equal(JsonText.ofText(deep).text, deep);
  for (const pointer of ["/€", "/€/0"]) {
    try {
      ok(JsonText.ofText(`[${deep}]`).at(`/0${pointer}`)?.text.startsWith("[["));
    } catch (error) {
      ok(error instanceof UnresolvedError);
    }
  }
  const throwing = {
    toJSON: () =>
      JSON.stringify(null, () => {
        throw new RangeError("Maximum call stack size");
      }),
  };
  throws(() => JsonText.ofValue(throwing).text, UnresolvedError);
});

Deno.test("resolveInput() is bounded in bytes, not characters", () => {
  const values = { input: JsonText.ofText('"€"'), output: () => JsonText.ofText("null") };
  const template = ["[", { from: "input", path: "" } as const, "]"];
  equal(resolveInput(template, values, { isMissingNull: false }, new BytesBudget(7)), '["€"]');
  throws(() => resolveInput(template, values, { isMissingNull: false }, new BytesBudget(6)), UnresolvedError);
});

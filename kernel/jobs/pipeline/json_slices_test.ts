import { deepEqual, equal } from "node:assert/strict";
import fc from "fast-check";
import { findSlices } from "./json_slices.ts";
import { JsonText } from "./resolve_input.ts";

const escape = (name: string) => name.replaceAll("~", "~0").replaceAll("/", "~1");

function pointersInto(value: unknown, at = ""): string[] {
  if (typeof value !== "object" || value === null) return [at, `${at}/0`];
  const inside = Object.entries(value).flatMap(([name, member]) =>
    pointersInto(member, `${at}/${escape(name)}`)
  );
  return [at, `${at}/-`, `${at}/x`, `${at}/00`, ...inside];
}

Deno.test("findSlices() finds what JSON.parse and a walk find, for all pointers at once", () => {
  fc.assert(fc.property(fc.jsonValue(), fc.constantFrom(0, 1, "\t\r\n"), (value, space) => {
    const text = JSON.stringify(value, null, space);
    const pointers = pointersInto(JSON.parse(text));
    const slices = findSlices(text, pointers);
    for (const pointer of pointers) {
      const slice = slices.get(pointer);
      const found = JsonText.ofValue(JSON.parse(text)).at(pointer);
      equal(slice === undefined, found === undefined, pointer);
      if (slice !== undefined) deepEqual(JSON.parse(slice), found?.value);
    }
  }));
});

Deno.test("findSlices() takes the last of members with one name, and what is in it alone", () => {
  const text = '{"a":{"b":1,"c":2},"\\u0061":{"c":"\\\\\\""},"__proto__":[7]}';
  const slices = findSlices(text, ["/a/b", "/a/c", "/a", "/__proto__/0", "/constructor"]);
  deepEqual([...slices], [["/a/c", '"\\\\\\""'], ["/a", '{"c":"\\\\\\""}'], ["/__proto__/0", "7"]]);
});

Deno.test("findSlices() ends with any text", () => {
  fc.assert(fc.property(fc.array(fc.constantFrom(...'[]{}",: \\1a')), (codes) => {
    // A name that is no JSON string is a fault of whoever stored it.
    try {
      findSlices(codes.join(""), ["/0/0", "/a", "/1/a/"]);
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
    }
  }));
});

import { equal } from "node:assert/strict";
import { toPrintable } from "./printable.ts";

Deno.test("toPrintable() escapes what a terminal obeys", () => {
  const rows: readonly [text: string, expected: string][] = [
    ["\x1b[2J\x07", "\\u001b[2J\\u0007"],
    ["a\r\nb\tc\0", "a\\u000d\\u000ab\\u0009c\\u0000"],
    ["\x7f\x9b31m\x85", "\\u007f\\u009b31m\\u0085"],
    ["\u202Eevil\u2066\u200F", "\\u202eevil\\u2066\\u200f"],
    ["a\u2028b\u2029c\u200b\ufeff", "a\\u2028b\\u2029c\\u200b\\ufeff"],
    ["\u{e0041}\ud800", "\\udb40\\udc41\\ud800"],
  ];
  for (const [text, expected] of rows) equal(toPrintable(text), expected);
});

Deno.test("toPrintable() leaves letters of any script, and escapes JSON to the same JSON", () => {
  equal(toPrintable("Ångström, 東京, שלום, 😀 — ok"), "Ångström, 東京, שלום, 😀 — ok");
  const value = { a: "\u202E\x9b\u2028\\", b: "\u{e0041}" };
  equal(JSON.stringify(JSON.parse(toPrintable(JSON.stringify(value)))), JSON.stringify(value));
});

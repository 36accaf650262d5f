import assert from "node:assert/strict";
import { createEntryFilter } from "./entry_filter.ts";

function line(plugin: string): string {
  const time = "2026-11-20T10:00:00.000Z";
  return JSON.stringify({
    v: 1,
    seq: 1,
    time,
    type: "grant.taken",
    actor: "kernel",
    plugin,
    data: {},
    prev: "",
  });
}

Deno.test("createEntryFilter() takes an id for all its versions, and for the id alone", () => {
  const names = ["hello", "hello@1.0.0", "hello@2.0.0-a", "hello2@1.0.0", "hell", "", 'hello"@1'];
  const table: [plugin: string, expected: string[]][] = [
    ["hello", ["hello", "hello@1.0.0", "hello@2.0.0-a"]],
    ["hello@1.0.0", ["hello@1.0.0"]],
    ["hello@", []],
    ["hel", []],
    ["other", []],
  ];
  for (const [plugin, expected] of table) {
    const matches = createEntryFilter({ plugin });
    assert.deepEqual(names.filter((name) => matches?.(line(name))), expected, plugin);
  }
});

import assert from "node:assert/strict";
import { editDistance, nearestName } from "./nearest_name.ts";

const keys = ["id", "version", "airlock", "entrypoint", "actions", "capabilities", "limits"];

Deno.test("nearestName() finds the key behind a slip of the finger", () => {
  const slips: [string, string | undefined][] = [
    ["entrypont", "entrypoint"],
    ["entryPoint", "entrypoint"],
    ["verison", "version"],
    ["Actions", "actions"],
    ["capabilites", "capabilities"],
    ["limit", "limits"],
    ["colour", undefined],
    ["x", undefined],
    ["", undefined],
    ["limits".repeat(20), undefined],
  ];
  for (const [slip, meant] of slips) assert.equal(nearestName(slip, keys), meant, slip);
});

Deno.test("editDistance() counts a swap of neighbours as one", () => {
  const cases: [string, string, number][] = [
    ["", "", 0],
    ["", "abc", 3],
    ["abc", "", 3],
    ["abc", "acb", 1],
    ["kitten", "sitting", 3],
    ["ca", "abc", 3],
  ];
  for (const [a, b, distance] of cases) assert.equal(editDistance(a, b), distance, `${a} ${b}`);
});

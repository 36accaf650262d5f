import { deepEqual, equal, match, ok } from "node:assert/strict";
import { Airlock, temporaryFolder } from "../support/airlock.ts";

interface Profile {
  rows: number;
  delimiter: string;
  columns: {
    name: string;
    type: string;
    count: number;
    missing: number;
    min?: unknown;
    max?: unknown;
    mean?: number;
  }[];
}

Deno.test("csv-profile profiles a text, and a file only after the operator granted it", async () => {
  await using folder = await temporaryFolder();
  await using airlock = await Airlock.start();
  const text = "name;born;height\nAda;1815-12-10;1.65\nGrace;1906-12-09;\nEmmy;1882-03-23;1.60\n";
  const profile = await airlock.call<Profile>("csv-profile", "profile", { text });
  deepEqual([profile.rows, profile.delimiter], [3, ";"]);
  deepEqual(profile.columns.map(({ name, type, missing }) => [name, type, missing]), [
    ["name", "string", 0],
    ["born", "date", 0],
    ["height", "number", 1],
  ]);
  equal(profile.columns[2]?.max, 1.65);

  const [granted, neighbour] = [`${folder.path}/granted.csv`, `${folder.path}/neighbour.csv`];
  for (const file of [granted, neighbour]) await Deno.writeTextFile(file, text);
  const refused = await airlock.fail("csv-profile", "profile", { path: granted });
  equal(refused.code, "ACTION_FAILED");
  match(refused.detail, /NotCapable|[Rr]equires read access/);
  equal((await airlock.request("PUT", "/v1/plugins/csv-profile/grants", { read: [granted] })).status, 200);
  deepEqual(await airlock.call("csv-profile", "profile", { path: granted }), profile);
  equal((await airlock.fail("csv-profile", "profile", { path: neighbour })).code, "ACTION_FAILED");

  for (const input of [{}, { text, path: granted }, { text, delimiter: "x" }, { txt: text }]) {
    const problem = await airlock.fail("csv-profile", "profile", input);
    equal(problem.code, "INPUT_INVALID");
    ok((problem.errors?.length ?? 0) > 0);
  }
});

Deno.test("csv-profile takes 10 MB in one call, again and again", async () => {
  await using airlock = await Airlock.start();
  const lines = ["id,amount,city"];
  let length = 0;
  let sum = 0;
  while (length < 10_000_000) {
    const amount = (lines.length * 7) % 1_000;
    sum += amount;
    const line = `${lines.length},${amount},"city, number ${lines.length % 90}"`;
    lines.push(line);
    length += line.length + 1;
  }
  const text = lines.join("\n");
  ok(text.length >= 10_000_000);
  const rows = lines.length - 1;
  for (let call = 0; call < 3; call++) {
    const profile = await airlock.call<Profile>("csv-profile", "profile", { text });
    equal(profile.rows, rows);
    const [id, amount, city] = profile.columns;
    deepEqual([id?.type, id?.min, id?.max, amount?.count, city?.type], ["integer", 1, rows, rows, "string"]);
    ok(Math.abs((amount?.mean ?? 0) - sum / rows) < 1e-6);
  }
});

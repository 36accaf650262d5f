import { equal } from "node:assert/strict";
import type { JobRow } from "./job_row.ts";
import { KeptRows } from "./kept_rows.ts";

const row = (seq: number, untold = 3) => ({ seq, untold }) as JobRow;

Deno.test("KeptRows keeps a row as it was last written, and changes only what it keeps", () => {
  const rows = new KeptRows();
  rows.put(row(1));
  rows.change(1, ({ untold }) => ({ untold: untold & ~1 }));
  rows.change(2, () => ({ untold: 0 }));
  equal(rows.get(1)?.untold, 2);
  equal(rows.get(2), undefined);
  rows.forget(1);
  equal(rows.get(1), undefined);
});

Deno.test("KeptRows is bounded, and drops what was written longest ago", () => {
  const rows = new KeptRows();
  for (let seq = 1; seq <= 4_096; seq++) rows.put(row(seq));
  rows.put(row(1));
  rows.put(row(5_000));
  equal(rows.get(2), undefined);
  equal(rows.get(1)?.seq, 1);
});

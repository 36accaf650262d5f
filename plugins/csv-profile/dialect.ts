/**
 * A dialect is how a CSV text is written: its delimiter, and whether its first row is a header.
 *
 * Detection looks at a sample of the first rows only. Pure.
 *
 * @module
 */
import { CsvRows, type Delimiter } from "./rows.ts";
import { ValueReader } from "./value.ts";

const delimiters: readonly Delimiter[] = [",", ";", "\t", "|"];

/** Rows of the sample that are compared. */
const sampleRowsMax = 100;

/**
 * The delimiter that cuts the rows of `sample` most evenly, and among equals into most fields. A comma if
 * none cuts any.
 */
export function detectDelimiter(sample: string): Delimiter {
  let best: { delimiter: Delimiter; evenness: number; fields: number } | undefined;
  for (const delimiter of delimiters) {
    const counts = sampleRows(sample, delimiter).map((row) => row.length);
    const fields = mode(counts);
    if (fields < 2) continue;
    const evenness = counts.filter((count) => count === fields).length / counts.length;
    if (
      best === undefined || evenness > best.evenness || (evenness === best.evenness && fields > best.fields)
    ) {
      best = { delimiter, evenness, fields };
    }
  }
  return best?.delimiter ?? ",";
}

/** Whether the first row of `sample` names the columns: its fields are all text, and no two are the same. */
export function detectHeader(sample: string, delimiter: Delimiter): boolean {
  const first = sampleRows(sample, delimiter)[0]?.map((field) => field.trim());
  if (first === undefined) return false;
  const named = first.filter((field) => field !== "");
  return named.length > 0 && new Set(named).size === named.length &&
    named.every(isText);
}

function isText(field: string): boolean {
  const value = new ValueReader();
  value.read(field);
  return value.kind === "string";
}

/** The last row is left out where there are others: the sample may have cut it. */
function sampleRows(sample: string, delimiter: Delimiter): (readonly string[])[] {
  const rows: (readonly string[])[] = [];
  const reader = new CsvRows(delimiter, (fields) => {
    if (rows.length <= sampleRowsMax) rows.push(fields);
  });
  reader.push(sample);
  reader.end();
  return rows.length > 1 ? rows.slice(0, -1) : rows;
}

/** The most frequent number; 0 of none. */
function mode(numbers: readonly number[]): number {
  const counts = Map.groupBy(numbers, (number) => number);
  let best = 0;
  for (const [number, same] of counts) {
    if (same.length > (counts.get(best)?.length ?? 0)) best = number;
  }
  return best;
}

/**
 * A text table: rows of cells as lines, the columns below each other. Pure.
 *
 * @module
 */

/** Every row has as many cells; the last column is as wide as it likes. */
export function formatTable(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]?.map((_, at) =>
    rows.reduce((width, row) => Math.max(width, row[at]?.length ?? 0), 0)
  );
  return rows.map((row) => row.map((cell, at) => cell.padEnd(widths?.[at] ?? 0)).join("  ").trimEnd());
}

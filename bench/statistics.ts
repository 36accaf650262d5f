/**
 * Statistics of a bench: quantiles of what was measured. Pure.
 *
 * @module
 */

/** The value below which the share `q` of `values` lies, by nearest rank. NaN without values. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)] ?? NaN;
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** To so many significant digits: the rest is noise. */
export function rounded(value: number, digits = 4): number {
  return Number(value.toPrecision(digits));
}

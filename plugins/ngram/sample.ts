/**
 * A sample is one choice from a distribution, made by a number from outside. Pure.
 *
 * @module
 */

/**
 * The id that `point`, from 0 up to 1, falls on. `temperature` sharpens the distribution below 1 and
 * flattens it above; 0 leaves nothing but its largest value.
 */
export function sample(probabilities: Float64Array, temperature: number, point: number): number {
  const largest = probabilities.reduce((a, b) => Math.max(a, b), 0);
  // Relative to the largest, so that a low temperature does not lose them all to underflow.
  const exponent = 1 / temperature;
  const weights = temperature === 0
    ? probabilities.map((probability) => probability === largest ? 1 : 0)
    : probabilities.map((probability) => (probability / largest) ** exponent);
  let left = point * weights.reduce((a, b) => a + b, 0);
  let last = 0;
  for (const [id, weight] of weights.entries()) {
    if (weight === 0) continue;
    last = id;
    left -= weight;
    if (left < 0) return id;
  }
  return last; // rounding only
}

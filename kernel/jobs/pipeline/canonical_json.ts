/**
 * Canonical JSON: one text for each JSON value, whatever the order in which its members were written.
 *
 * RFC 8785: no white space, members sorted by the UTF-16 code units of their names, numbers and strings as
 * ECMAScript writes them. One departure: half of a surrogate pair is escaped (`\ud800`) where the RFC would end
 * with an error, so that every value that JSON.parse gives has a text, and different values have different ones.
 * Pure.
 *
 * @module
 */

/**
 * A member that is undefined is left out, as JSON.stringify does it. Throws TypeError for what is no JSON value.
 * Recursive: the caller bounds the depth, as `compile_plan.ts` does.
 */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join()}]`;
  if (typeof value === "object" && value !== null) {
    const members = Object.entries(value).filter(([, member]) => member !== undefined);
    // Names are never equal. `<` on strings compares code units.
    members.sort(([a], [b]) => a < b ? -1 : 1);
    return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${canonicalJson(member)}`).join()}}`;
  }
  const isJson = value === null || typeof value === "string" || typeof value === "boolean" ||
    Number.isFinite(value);
  if (!isJson) throw new TypeError(`Cannot write canonical JSON: a ${typeof value} is no JSON value`);
  return JSON.stringify(value);
}

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
    const names = sortedNames(value);
    let text = "";
    for (const name of names) {
      const member: unknown = Reflect.get(value, name);
      if (member === undefined) continue;
      text += `${text === "" ? "{" : ","}${JSON.stringify(name)}:${canonicalJson(member)}`;
    }
    return text === "" ? "{}" : `${text}}`;
  }
  const isJson = value === null || typeof value === "string" || typeof value === "boolean" ||
    Number.isFinite(value);
  if (!isJson) throw new TypeError(`Cannot write canonical JSON: a ${typeof value} is no JSON value`);
  return JSON.stringify(value);
}

/** Names are never equal, and code units are what strings are sorted by if nothing else is said. */
function sortedNames(value: object): string[] {
  const names = Object.keys(value);
  const isSorted = names.every((name, index) => index === 0 || (names[index - 1] ?? "") < name);
  return isSorted ? names : names.sort();
}

/**
 * The bounds of JSON that somebody sends, as a body or as a message of a WebSocket.
 *
 * Jobs carry data of any shape, so that a small text could make a great many values, or a nesting deeper than any
 * stack. The text is measured before anything is made of it, and the value before a schema sees it.
 *
 * Pure.
 *
 * @module
 */
import { jsonPointer } from "../../schemas/parse_document.ts";
import type { Fault } from "../../schemas/problem.ts";
import { shownKey } from "./json_faults.ts";

/** Levels of arrays and objects in each other. */
export const nestingMax = 256;
/** Values in one text, those in its inputs included. */
export const valuesMax = 200_000;
/** Values outside of what is passed on as it is: 1,000 jobs with all they may say. */
const checkedValuesMax = 100_000;
/** Members that a schema takes whatever they are. */
const passedOn: ReadonlySet<PropertyKey> = new Set(["input", "map"]);

const quote = 0x22;
const backslash = 0x5c;
const comma = 0x2c;
const [openArray, closeArray, openObject, closeObject] = [0x5b, 0x5d, 0x7b, 0x7d];

/** What is too large about a text in UTF-8. Says nothing of what is not JSON: the parser does. */
export function extentFault(bytes: Uint8Array): Fault | undefined {
  let [depth, values, inString] = [0, 1, false];
  for (let at = 0; at < bytes.length; at += 1) {
    const byte = bytes[at];
    if (inString) {
      if (byte === backslash) at += 1;
      else if (byte === quote) inString = false;
    } else if (byte === quote) {
      inString = true;
    } else if (byte === openArray || byte === openObject) {
      depth += 1;
      values += 1;
      if (depth > nestingMax) {
        return { path: "", message: `must not be nested deeper than ${nestingMax} levels` };
      }
    } else if (byte === closeArray || byte === closeObject) {
      depth -= 1;
    } else if (byte === comma) {
      values += 1;
    }
    if (values > valuesMax) return { path: "", message: `must not have more than ${valuesMax} values` };
  }
  return undefined;
}

/**
 * What is wrong with a value under any schema: it is more than one should look at, or a number in it is too large for
 * a double, which would silently become `null` on its way to the plugin. For a value within {@linkcode extentFault}.
 */
export function valueFault(value: unknown): Fault | undefined {
  return faultIn(value, { path: [], checked: 0 }, false);
}

interface Walk {
  readonly path: PropertyKey[];
  checked: number;
}

/** Recursive: the nesting is bound already. */
function faultIn(value: unknown, walk: Walk, isPassedOn: boolean): Fault | undefined {
  if (!isPassedOn && (walk.checked += 1) > checkedValuesMax) {
    return { path: "", message: `must not have more than ${checkedValuesMax} values beside its inputs` };
  }
  if (typeof value === "number" && !Number.isFinite(value)) {
    return { path: jsonPointer(walk.path.map(shownKey)), message: "must be a number that a double can hold" };
  }
  if (typeof value !== "object" || value === null) return undefined;
  const isArray = Array.isArray(value);
  for (const [key, child] of isArray ? value.entries() : Object.entries(value)) {
    walk.path.push(key);
    const fault = faultIn(child, walk, isPassedOn || (!isArray && passedOn.has(key)));
    if (fault !== undefined) return fault;
    walk.path.pop();
  }
  return undefined;
}

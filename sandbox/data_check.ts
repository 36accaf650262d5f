/**
 * The check of data against a plugin's own JSON Schemas. Pure.
 *
 * A file of its own because most of a cell's code is the validator in it: a plugin without schemas starts
 * without it, and one with schemas loads it while its Worker loads the plugin.
 *
 * Runs bundled, as `sandbox/dist/data_check.js`.
 *
 * @module
 */
import { dereference, type Schema, validate } from "@cfworker/json-schema";
import { clip } from "./clip.ts";

/** Faults in one answer. */
const faultsMax = 32;
const faultsBytesMax = 32_768;
/** Data up to this length is told everything that is wrong with it. */
const listedCharsMax = 65_536;

/** What is wrong with a value whose text had so many characters; nothing where it fits the schema. */
export type DataCheck = (value: unknown, chars: number) => DataFault[] | undefined;

interface Prepared {
  readonly schema: Schema | boolean;
  readonly lookup: ReturnType<typeof dereference>;
}

/** Throws where the schema cannot be used. */
export function createDataCheck(schema: Schema | boolean): DataCheck {
  const prepared = { schema, lookup: dereference(schema) };
  return (value, chars) => faultsOf(prepared, value, chars);
}

export interface DataFault {
  path: string;
  message: string;
}

/**
 * What is wrong with data, all of it where the data is short; of long data the first thing, because a list of
 * everything wrong with it can be many times its size. Data that the validator cannot check does not fit.
 */
function faultsOf({ schema, lookup }: Prepared, value: unknown, chars: number): DataFault[] | undefined {
  try {
    const first = validate(value, schema, "2020-12", lookup, true);
    if (first.valid) return undefined;
    const { errors } = chars > listedCharsMax ? first : validate(value, schema, "2020-12", lookup, false);
    return fitting(leavesOf(errors));
  } catch (error) {
    if (error instanceof RangeError) return [{ path: "", message: "must not be nested so deeply" }];
    if (error instanceof URIError) return [{ path: "", message: "must not have half a character in a name" }];
    throw error;
  }
}

/** The validator reports a failing child beside each parent it made fail: the leaves say what is wrong. */
function leavesOf(errors: ReturnType<typeof validate>["errors"]) {
  const parents = new Set<string>();
  for (const { keywordLocation } of errors) {
    for (
      let end = keywordLocation.lastIndexOf("/");
      end > 0;
      end = keywordLocation.lastIndexOf("/", end - 1)
    ) {
      parents.add(keywordLocation.slice(0, end));
    }
  }
  return errors.filter(({ keywordLocation }) => !parents.has(keywordLocation));
}

/** As many as go into an envelope; the first one always does. */
function fitting(errors: ReturnType<typeof validate>["errors"]): DataFault[] {
  const faults: DataFault[] = [];
  let bytes = 0;
  for (const { instanceLocation, error } of errors.slice(0, faultsMax)) {
    const fault = { path: clip(pointerOf(instanceLocation)), message: clip(error) };
    bytes += new TextEncoder().encode(JSON.stringify(fault)).length;
    if (bytes > faultsBytesMax) break;
    faults.push(fault);
  }
  return faults;
}

/** The validator's location is a pointer as the fragment of an address: `#/a%20b` for `/a b`. */
function pointerOf(instanceLocation: string): string {
  return decodeURI(instanceLocation.slice(1));
}

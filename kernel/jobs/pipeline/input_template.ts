/**
 * An input template is a step's `input` as its plan gives it: JSON in which some objects stand for values that
 * are known only when the step begins.
 *
 * It is read once, into pieces of finished JSON text and the references between them, so that to make an input
 * is to put texts together: what is literal is serialised once, however many items a map has. Pure.
 *
 * @module
 */
import {
  fromInputSchema,
  fromStepSchema,
  itemSchema,
  pipelineJsonDepthMax,
} from "../../../schemas/pipeline.ts";
import type { Fault } from "../../../schemas/problem.ts";

/** `path` is a JSON Pointer, RFC 6901. */
export type Reference =
  | { readonly from: "step"; readonly step: string; readonly path: string }
  | { readonly from: "input" | "item"; readonly path: string }
  | { readonly from: "index" };

/** In turn they make the input: JSON text as it stands, or what is referred to. */
export type InputTemplate = readonly (string | Reference)[];

const referenceNames = ["$from", "$input", "$item", "$index", "$literal"] as const;

export interface TemplateReader {
  /** A template may refer to the item of a map, and its number. */
  readonly isInMap: boolean;
  /** Called for each reference to a step. */
  readonly refers: (step: string, path: string) => void;
  readonly report: (fault: Fault) => void;
}

/** Of a JSON value. What is wrong with it goes to `report`; the template is of use only if nothing is. */
export function readTemplate(value: unknown, path: string, reader: TemplateReader): InputTemplate {
  const parts: (string | Reference)[] = [];
  let text = "";
  const write = (value: unknown, path: string, depth: number): void => {
    if (typeof value !== "object" || value === null) {
      text += JSON.stringify(value);
      return;
    }
    if (depth >= pipelineJsonDepthMax) return reader.report(tooDeep(path));
    if (Array.isArray(value)) {
      text += "[";
      for (const [index, item] of value.entries()) {
        if (index > 0) text += ",";
        write(item, `${path}/${index}`, depth + 1);
      }
      text += "]";
      return;
    }
    const name = referenceNames.find((name) => Object.hasOwn(value, name));
    if (name === undefined) {
      text += "{";
      for (const [index, [name, member]] of Object.entries(value).entries()) {
        text += `${index > 0 ? "," : ""}${JSON.stringify(name)}:`;
        write(member, `${path}/${escapeToken(name)}`, depth + 1);
      }
      text += "}";
      return;
    }
    const read = readReference(value, name, path, reader);
    if (read === undefined) return;
    if ("literal" in read) {
      if (checkDepth(read.literal, `${path}/$literal`, reader.report)) text += JSON.stringify(read.literal);
      return;
    }
    parts.push(text, read);
    text = "";
  };
  write(value, path, 0);
  return [...parts, text].filter((part) => part !== "");
}

/** undefined: it was reported. */
function readReference(
  value: object,
  name: typeof referenceNames[number],
  path: string,
  { isInMap, refers, report }: TemplateReader,
): Reference | { readonly literal: unknown } | undefined {
  const refuse = (message: string, at = path): undefined => void report({ path: at, message });
  if (name === "$literal") {
    const [[, literal] = [], ...others] = Object.entries(value);
    return others.length === 0 ? { literal } : refuse('must have no member beside "$literal"');
  }
  if ((name === "$item" || name === "$index") && !isInMap) return refuse(`"${name}" is for steps with "map"`);
  if (name === "$index") {
    const isIndex = Object.keys(value).length === 1 && Object.entries(value)[0]?.[1] === true;
    return isIndex ? { from: "index" } : refuse('must be { "$index": true }');
  }
  const schemas = { $from: fromStepSchema, $input: fromInputSchema, $item: itemSchema };
  const { data, error } = schemas[name].safeParse(value);
  if (data === undefined) {
    for (const { path: at, message } of error.issues) {
      refuse(message, [path, ...at.map((token) => escapeToken(String(token)))].join("/"));
    }
    return refuse(`is no reference; a literal object with "${name}" is written { "$literal": … }`);
  }
  if ("$item" in data) return { from: "item", path: data.$item };
  if ("$input" in data) return { from: "input", path: data.$input };
  refers(data.$from, path);
  return { from: "step", step: data.$from, path: data.path };
}

/** False: it was reported. */
export function checkDepth(value: unknown, path: string, report: (fault: Fault) => void): boolean {
  // With its depth. A list, because what is to be found is what recursion could not stand.
  const rest: [value: unknown, depth: number][] = [[value, 0]];
  for (let next = rest.pop(); next !== undefined; next = rest.pop()) {
    const [value, depth] = next;
    if (typeof value !== "object" || value === null) continue;
    if (depth >= pipelineJsonDepthMax) {
      report(tooDeep(path));
      return false;
    }
    for (const member of Object.values(value)) rest.push([member, depth + 1]);
  }
  return true;
}

function tooDeep(path: string): Fault {
  return { path, message: `must be nested at most ${pipelineJsonDepthMax} deep` };
}

function escapeToken(token: string): string {
  return token.replaceAll("~", "~0").replaceAll("/", "~1");
}

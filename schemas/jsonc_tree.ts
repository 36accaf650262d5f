/**
 * The tree of a JSONC text: values together with where they stand.
 *
 * Under `jsonc.ts` (which gives values) and `parse_document.ts` (which gives faults with lines) lies one
 * grammar: JSON with comments and trailing commas, never empty. Nesting is bounded before the parser,
 * which is recursive, sees the text. Pure.
 *
 * @module
 */
import { createScanner, type Node, type ParseError, parseTree, printParseErrorCode } from "jsonc-parser";

/** As in `@std/jsonc`. */
export type JsonValue =
  | { [key: string]: JsonValue | undefined }
  | JsonValue[]
  | string
  | number
  | boolean
  | null;

export type JsoncNode = Node;

/** A place where the text is not JSONC. */
export interface SyntaxFault {
  offset: number;
  message: string;
}

export interface JsoncTree {
  /** Undefined if there is no value at all, or it is nested too deep. */
  root: JsoncNode | undefined;
  faults: SyntaxFault[];
  /** Whether the tree is what the author meant: there is no fault, or commas are missing and no more. */
  sound: boolean;
}

/** Levels of objects and arrays. */
export const nestingMax = 128;

/** Parses `text`; never throws. */
export function parseJsoncTree(text: string): JsoncTree {
  const tooDeep = offsetNestedTooDeep(text);
  if (tooDeep !== undefined) {
    const message = `must not be nested deeper than ${nestingMax} levels`;
    return { root: undefined, faults: [{ offset: tooDeep, message }], sound: false };
  }
  const errors: ParseError[] = [];
  const root = parseTree(text, errors, { allowTrailingComma: true, allowEmptyContent: false });
  const sound = errors.every(({ error }) => printParseErrorCode(error) === "CommaExpected");
  return { root, faults: withoutConsequences(text, errors), sound };
}

/** The value of a tree without faults. As with `JSON.parse`, the last of two equal keys wins. */
export function valueOf(node: JsoncNode): JsonValue {
  if (node.type === "array") return (node.children ?? []).map(valueOf);
  if (node.type !== "object") return node.value;
  const value: Record<string, JsonValue> = {};
  for (const { key, child } of propertiesOf(node)) {
    // Plain assignment to `__proto__` would set the prototype.
    Object.defineProperty(value, key.value, {
      value: valueOf(child),
      writable: true,
      enumerable: true,
      configurable: true,
    });
  }
  return value;
}

/** The properties of an object's node that have a value. */
export function* propertiesOf(node: JsoncNode): Generator<{ key: JsoncNode; child: JsoncNode }> {
  if (node.type !== "object") return;
  for (const { children: [key, child] = [] } of node.children ?? []) {
    if (key !== undefined && child !== undefined) yield { key, child };
  }
}

/** Turns offsets into lines and columns, both from 1; columns count UTF-16 units, as editors do. */
export function createLocator(text: string): (offset: number) => { line: number; column: number } {
  const starts = [0];
  for (const { index, 0: end } of text.matchAll(/\r\n|\r|\n/g)) starts.push(index + end.length);
  return (offset) => {
    let low = 0;
    let high = starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (starts[middle] <= offset) low = middle;
      else high = middle - 1;
    }
    return { line: low + 1, column: offset - starts[low] + 1 };
  };
}

/**
 * The offset of the first bracket beyond {@linkcode nestingMax}. A closing bracket counts only if it
 * fits, so that this is never less than the recursion of the parser, whatever the text.
 */
function offsetNestedTooDeep(text: string): number | undefined {
  const scanner = createScanner(text, true);
  const open: string[] = [];
  while (scanner.getPosition() < text.length) {
    scanner.scan();
    if (scanner.getTokenLength() !== 1) continue; // a string has two quotes at least
    const character = text[scanner.getTokenOffset()];
    if (character === "{" || character === "[") {
      if (open.push(character) > nestingMax) return scanner.getTokenOffset();
    } else if (character === (open.at(-1) === "{" ? "}" : "]")) {
      open.pop();
    }
  }
  return undefined;
}

/** One slip makes the parser stumble more than once: on the same line, or at the very next token. */
function withoutConsequences(text: string, errors: ParseError[]): SyntaxFault[] {
  const faults: SyntaxFault[] = [];
  let previous: ParseError | undefined;
  for (const current of errors) {
    if (previous === undefined || !isConsequence(text, previous, current)) {
      const found = text.slice(current.offset, current.offset + Math.min(current.length, 32));
      faults.push({
        offset: current.offset,
        message: syntaxMessage(printParseErrorCode(current.error), found),
      });
    }
    previous = current;
  }
  return faults;
}

function isConsequence(text: string, previous: ParseError, current: ParseError): boolean {
  const bothCommas = [previous, current].every(({ error }) => printParseErrorCode(error) === "CommaExpected");
  if (bothCommas) return false; // after a missing comma the parser goes on as if it stood there
  const between = text.slice(previous.offset + previous.length, current.offset);
  return !/[\r\n]/.test(between) || /^\s*$/.test(between);
}

function syntaxMessage(name: string, found: string): string {
  switch (name) {
    case "InvalidSymbol":
      return `Unexpected ${JSON.stringify(found)}: keys and strings stand in double quotes`;
    case "InvalidNumberFormat":
    case "UnexpectedEndOfNumber":
      return "Expected a number such as 1, -2.5 or 1e6";
    case "PropertyNameExpected":
      return "Expected a key in double quotes";
    case "ValueExpected":
      return "Expected a value";
    case "ColonExpected":
      return "Expected a colon after the key";
    case "CommaExpected":
      return "Expected a comma before this";
    case "CloseBraceExpected":
      return "Expected a closing brace }";
    case "CloseBracketExpected":
      return "Expected a closing bracket ]";
    case "EndOfFileExpected":
      return "Expected nothing more after the value";
    case "UnexpectedEndOfComment":
      return "Expected the end of the comment, */";
    case "UnexpectedEndOfString":
      return "Expected a closing double quote on the same line";
    case "InvalidUnicode":
    case "InvalidEscapeCharacter":
      return 'Expected one of the escapes \\" \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX';
    case "InvalidCharacter":
      return "Unexpected control character in a string";
    default:
      return "Unexpected text";
  }
}

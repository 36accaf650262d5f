/**
 * To resolve an input is to put the values in the place of the references in a template.
 *
 * Values are JSON texts; one is parsed only for a pointer that leads into it, and put in whole without. A plugin
 * chose the outputs: only own members of objects and items of lists are walked, and texts are bounded before
 * they are put together. Pure, but for the reading of outputs, which is the caller's.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { InputTemplate, Reference } from "./input_template.ts";

/** Why a step cannot have its input: the end of a sentence. The step fails with INPUT_INVALID. */
export class UnresolvedError extends Error {
  override name = "UnresolvedError";
}

/** A JSON value, as text, parsed, or both once they were asked for. */
export class JsonText {
  #text: string | undefined;
  #bytes: number | undefined;
  #parsed: { readonly value: unknown } | undefined;

  static ofText(text: string): JsonText {
    const json = new JsonText();
    json.#text = text;
    return json;
  }

  static ofValue(value: unknown): JsonText {
    const json = new JsonText();
    json.#parsed = { value };
    return json;
  }

  /** Throws {@linkcode UnresolvedError} for what is nested too deep to be written. */
  get text(): string {
    if (this.#text !== undefined) return this.#text;
    try {
      this.#text = JSON.stringify(this.#parsed?.value);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      throw new UnresolvedError("a value is nested too deep", { cause: error });
    }
    return this.#text;
  }

  /** Of the text, in UTF-8. */
  get bytes(): number {
    return this.#bytes ??= Buffer.byteLength(this.text);
  }

  get value(): unknown {
    this.#parsed ??= { value: JSON.parse(this.#text ?? "null") };
    return this.#parsed.value;
  }

  /** What a JSON Pointer leads to; undefined: nowhere. */
  at(pointer: string): JsonText | undefined {
    if (pointer === "") return this;
    let value = this.value;
    for (const token of pointer.slice(1).split("/")) {
      const name = token.replaceAll("~1", "/").replaceAll("~0", "~");
      if (Array.isArray(value)) {
        // "-" is the item after the last, which is none.
        if (!/^(?:0|[1-9][0-9]*)$/.test(name) || Number(name) >= value.length) return undefined;
        value = value[Number(name)];
      } else if (typeof value === "object" && value !== null && Object.hasOwn(value, name)) {
        value = Reflect.get(value, name);
      } else return undefined;
    }
    return JsonText.ofValue(value);
  }
}

export interface Values {
  /** Of the pipeline. */
  readonly input: JsonText;
  /** What the path leads to in the output of a step that has ended, which is null where it has none. */
  output(reference: Extract<Reference, { readonly from: "step" }>): JsonText | undefined;
  readonly item?: { readonly value: JsonText; readonly index: number };
}

export interface ResolveOptions {
  /** A pointer that leads nowhere is null; else it throws. */
  readonly isMissingNull: boolean;
}

/** Throws {@linkcode UnresolvedError}. */
export function resolveReference(reference: Reference, values: Values, options: ResolveOptions): JsonText {
  if (reference.from === "index") return JsonText.ofValue(values.item?.index ?? null);
  const found = reference.from === "step"
    ? values.output(reference)
    : sourceOf(reference.from, values).at(reference.path);
  if (found !== undefined) return found;
  if (options.isMissingNull) return JsonText.ofText("null");
  const names = { input: "the pipeline's input", item: `item ${values.item?.index}` };
  const name = reference.from === "step" ? `the output of "${reference.step}"` : names[reference.from];
  throw new UnresolvedError(`"${reference.path}" leads nowhere in ${name}`);
}

function sourceOf(from: "input" | "item", { input, item }: Values): JsonText {
  return from === "input" ? input : item?.value ?? JsonText.ofText("null");
}

/** Counts the bytes of texts. */
export class BytesBudget {
  #left: number;

  constructor(private readonly bytesMax: number) {
    this.#left = bytesMax;
  }

  get used(): number {
    return this.bytesMax - this.#left;
  }

  /** Throws {@linkcode UnresolvedError} when it is used up. */
  take(text: string | JsonText): string {
    this.#left -= typeof text === "string" ? Buffer.byteLength(text) : text.bytes;
    if (this.#left < 0) throw new UnresolvedError(`it would be larger than ${this.bytesMax} bytes`);
    return typeof text === "string" ? text : text.text;
  }
}

/** A template in which what is the same for all items of a map is resolved, so that it is done once. */
export type ItemTemplate = readonly (string | Reference | JsonText)[];

/** Throws {@linkcode UnresolvedError}. */
export function resolveConstants(
  template: InputTemplate,
  values: Omit<Values, "item">,
  options: ResolveOptions,
  budget: BytesBudget,
): ItemTemplate {
  return template.map((part) => {
    if (typeof part === "string" || part.from === "item" || part.from === "index") return part;
    const value = resolveReference(part, values, options);
    budget.take(value);
    return value;
  });
}

/** The input as JSON text. Throws {@linkcode UnresolvedError}. */
export function resolveInput(
  template: ItemTemplate,
  values: Values,
  options: ResolveOptions,
  budget: BytesBudget,
): string {
  let text = "";
  for (const part of template) {
    text += budget.take(
      typeof part === "string" || part instanceof JsonText ? part : resolveReference(part, values, options),
    );
  }
  return text;
}

/**
 * A shape is a JSON Schema in the few keywords that the cell protocol's schemas are generated in.
 *
 * With it a cell checks what it receives without loading zod, which took 7 of the 58 ms of a start
 * (`bench/README.md`), and without `@cfworker/json-schema`, which is as large. A test holds both ends'
 * checks against each other, and refuses a keyword that is not known here. Pure.
 *
 * @module
 */

export interface Shape {
  readonly type?: string;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly Shape[];
  readonly oneOf?: readonly Shape[];
  readonly properties?: Readonly<Record<string, Shape | undefined>>;
  readonly required?: readonly string[];
  readonly propertyNames?: Shape;
  readonly additionalProperties?: Shape | boolean;
  readonly items?: Shape;
  readonly maxLength?: number;
  readonly minimum?: number;
  readonly exclusiveMinimum?: number;
  readonly maximum?: number;
  /** Made for `z.json()` alone. What is checked comes from JSON, so any value fits. */
  readonly $ref?: string;
}

/** True when `value`, which was parsed from JSON or cloned, is of that shape. */
export function fitsShape(shape: Shape, value: unknown): boolean {
  const options = shape.anyOf ?? shape.oneOf;
  if (options !== undefined) return options.some((option) => fitsShape(option, value));
  if (shape.const !== undefined) return value === shape.const;
  if (shape.enum !== undefined) return shape.enum.includes(value);
  switch (shape.type) {
    case undefined:
      return shape.$ref !== undefined;
    case "string":
      return typeof value === "string" && value.length <= (shape.maxLength ?? Infinity);
    case "boolean":
      return typeof value === "boolean";
    case "number":
      return Number.isFinite(value);
    case "integer":
      return typeof value === "number" && Number.isSafeInteger(value) && isInRange(shape, value);
    case "array":
      return Array.isArray(value) &&
        value.every((item) => shape.items === undefined || fitsShape(shape.items, item));
    case "object":
      return typeof value === "object" && value !== null && !Array.isArray(value) && fitsObject(shape, value);
    default:
      throw new TypeError(`Cannot check a "${shape.type}": there is no such type`);
  }
}

function isInRange({ minimum, exclusiveMinimum, maximum }: Shape, value: number): boolean {
  return value >= (minimum ?? -Infinity) && value > (exclusiveMinimum ?? -Infinity) &&
    value <= (maximum ?? Infinity);
}

function fitsObject(shape: Shape, value: object): boolean {
  const { properties = {}, required = [], propertyNames, additionalProperties } = shape;
  for (const name of required) {
    if (!Object.hasOwn(value, name)) return false;
  }
  for (const [name, item] of Object.entries(value)) {
    const property = Object.hasOwn(properties, name) ? properties[name] : additionalProperties;
    if (property === false) return false;
    if (propertyNames !== undefined && !fitsShape(propertyNames, name)) return false;
    // An optional property may be there and undefined: cloning keeps it.
    const isLeftOut = item === undefined && !required.includes(name);
    if (!isLeftOut && typeof property === "object" && !fitsShape(property, item)) return false;
  }
  return true;
}

/**
 * What a cell receives, parsed: from the warden on its stdin, from the kernel on its socket, from its Worker.
 *
 * The shapes are generated from the zod schemas in `schemas/cell_protocol.ts`, with which the kernel parses.
 *
 * @module
 */
import type { CellBoot, CellSetup, FromGuest, ToCell } from "../schemas/cell_protocol.ts";
import schema from "../schemas/json/cell_messages.schema.json" with { type: "json" };
import { fitsShape, type Shape } from "./fits_shape.ts";

interface Messages {
  readonly boot: CellBoot;
  readonly toCell: ToCell;
  readonly setup: CellSetup;
  readonly fromGuest: FromGuest;
}

const shapes: Readonly<Record<keyof Messages, Shape>> = schema.properties;

/** True when `value` is such a message. */
export function isMessage<Name extends keyof Messages>(name: Name, value: unknown): value is Messages[Name] {
  return fitsShape(shapes[name], value);
}

/** Throws TypeError. */
export function parseMessage<Name extends keyof Messages>(name: Name, value: unknown): Messages[Name] {
  if (isMessage(name, value)) return value;
  throw new TypeError(`Cannot take a message "${name}": it is outside the protocol`);
}

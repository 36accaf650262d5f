/**
 * Clipping: what a plugin says of itself, cut to what the cell protocol carries. Pure.
 *
 * @module
 */
import { messageCharsMax } from "../schemas/cell_protocol_version.ts";

/** At most {@linkcode messageCharsMax} characters, without a lone surrogate. */
export function clip(text: string): string {
  const clipped = text.length <= messageCharsMax ? text : `${text.slice(0, messageCharsMax - 1)}…`;
  return clipped.toWellFormed();
}

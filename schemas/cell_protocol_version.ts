/**
 * What both ends of a cell's socket must agree on before they can parse a message.
 *
 * Apart from the schemas, because the cell imports it and must not load zod: see `sandbox/cell_messages.ts`.
 *
 * @module
 */

/** Cells of another major version are refused; the minor one rises with what is added. */
export const cellProtocolVersion = { major: 1, minor: 1 } as const;

/** What a cell may say of itself in one message, in characters. */
export const messageCharsMax = 2_048;

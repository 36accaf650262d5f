/**
 * An action's name: a property of the plugin's `actions` export.
 *
 * @module
 */
import { z } from "zod";

export const actionNameSchema = z.string()
  .regex(/^[A-Za-z][A-Za-z0-9_-]{0,63}$/, "must be a letter, then at most 63 letters, digits, _ and -");

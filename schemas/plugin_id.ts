/**
 * A plugin's id: also a folder's name and a path segment.
 *
 * In a file of its own because the warden knows ids, and loads no npm code but zod. Pure.
 *
 * @module
 */
import { z } from "zod";

export const pluginIdSchema = z.string()
  .regex(/^[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?$/, "must be 1 to 64 of a-z, 0-9 and inner hyphens");

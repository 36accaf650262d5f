/**
 * The config table holds one row: the configuration of the last start, so that the next one can tell what changed.
 *
 * It may be of an older version of Airlock, so it is handed out as it was stored.
 *
 * @module
 */
import type { DatabaseSync } from "node:sqlite";
import { z } from "zod";

const rowSchema = z.object({ config: z.string() });
const configSchema = z.record(z.string(), z.json());
/** Some JSON object. */
export type StoredConfig = z.infer<typeof configSchema>;

export interface ConfigTable {
  /** Durable when it returns. */
  set(config: object): void;
  /** undefined before the first start. */
  get(): StoredConfig | undefined;
}

export function createConfigTable(db: DatabaseSync): ConfigTable {
  const upsert = db.prepare("INSERT OR REPLACE INTO config_started (id, config) VALUES (1, ?)");
  const select = db.prepare("SELECT config FROM config_started");
  return {
    set(config) {
      upsert.run(JSON.stringify(config));
    },
    get() {
      const raw = select.get();
      return raw && configSchema.parse(JSON.parse(rowSchema.parse(raw).config));
    },
  };
}

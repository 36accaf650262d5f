/**
 * A test context is what a plugin's action gets in a test: a {@linkcode Context} that keeps what it is told.
 *
 * It lies beside the plugins and not in one, since every file of a plugin's folder is part of its package.
 *
 * @module
 */
import type { Context } from "../sdk/mod.ts";

export interface TestContext extends Context {
  readonly progressed: { fraction: number; note: string | undefined }[];
  readonly logged: string[];
}

export interface TestContextOptions {
  signal?: AbortSignal;
  dataDir?: string;
  packageDir?: string;
  job?: Context["job"];
}

export function createTestContext(options: TestContextOptions = {}): TestContext {
  const progressed: TestContext["progressed"] = [];
  const logged: string[] = [];
  const write = (message: string) => void logged.push(message);
  return {
    progressed,
    logged,
    log: { debug: write, info: write, warn: write, error: write },
    progress: (fraction, note) => void progressed.push({ fraction, note }),
    signal: options.signal ?? new AbortController().signal,
    dataDir: options.dataDir ?? "/nonexistent",
    packageDir: options.packageDir ?? "/nonexistent",
    config: {},
    plugin: { id: "test", version: "1.0.0" },
    call: { id: "test", action: "test" },
    ...(options.job === undefined ? {} : { job: options.job }),
  };
}

/**
 * A kernel for benches: the program as it is shipped, in a process of its own, with one plugin in a folder of a bench.
 *
 * @module
 */
import { DatabaseSync } from "node:sqlite";
import { startServer } from "./local_server.ts";

const endTimeoutMs = 300_000;
const pollMs = 2;

export interface BenchPlugin {
  readonly id: string;
  readonly manifest: Record<string, unknown>;
  readonly code: string;
}

export async function startKernel(
  resources: AsyncDisposableStack,
  folder: string,
  { id, manifest, code }: BenchPlugin,
): Promise<JobsKernel> {
  const plugin = `${folder}/plugins/${id}`;
  await Deno.mkdir(plugin, { recursive: true });
  const base = { id, version: "1.0.0", airlock: ">=0.1.0 <1.0.0", entrypoint: "mod.ts" };
  await Deno.writeTextFile(`${plugin}/plugin.jsonc`, JSON.stringify({ ...base, ...manifest }));
  await Deno.writeTextFile(`${plugin}/mod.ts`, code);
  const data = `${folder}/data`;
  const serve = ["main.ts", "serve", "--port", "0", "--data", data, "--plugins", `${folder}/plugins`];
  const url = await startServer(resources, serve);
  const token = (await Deno.readTextFile(`${data}/admin.token`)).trim();
  return resources.use(new JobsKernel(url, token, `${data}/jobs.db`));
}

export class JobsKernel implements Disposable {
  readonly #db: DatabaseSync;

  constructor(readonly url: string, private readonly token: string, file: string) {
    this.#db = new DatabaseSync(file, { readOnly: true });
  }

  [Symbol.dispose](): void {
    this.#db.close();
  }

  /** The answer to a request that succeeded; its body is for the caller to read. */
  async fetch(path: string, body?: string, headers: Record<string, string> = {}): Promise<Response> {
    const response = await fetch(`${this.url}${path}`, {
      method: body === undefined ? "GET" : "POST",
      headers: { authorization: `Bearer ${this.token}`, "content-type": "application/json", ...headers },
      ...(body === undefined ? {} : { body }),
    });
    if (!response.ok) throw new Error(`Cannot use "${path}": ${response.status} ${await response.text()}`);
    return response;
  }

  async enqueue(body: string): Promise<void> {
    await (await this.fetch("/v1/jobs", body)).body?.cancel();
  }

  /** Transactions of jobs so far that were synced. */
  async commits(): Promise<number> {
    const text = await (await this.fetch("/metrics")).text();
    return Number(/^airlock_jobs_commits_total (\d+)$/m.exec(text)?.[1] ?? 0);
  }

  /** Jobs of an action that have not ended. */
  unfinished(action: string): number {
    return this.#count(
      "SELECT count(*) AS count FROM jobs WHERE state IN ('pending', 'running') AND action = ?",
      action,
    );
  }

  /** Numbers in the outputs of an action's completed jobs, by the member `n` of their inputs. */
  outputs(action: string): Map<number, number> {
    const rows = this.#db.prepare(`
      SELECT input ->> 'n' AS n, CAST(CAST(output AS TEXT) AS REAL) AS output
      FROM jobs JOIN (SELECT seq, CAST(input AS TEXT) AS input, output FROM job_data) USING (seq)
      WHERE action = ? AND state = 'completed'
    `).all(action);
    return new Map(rows.map(({ n, output }) => [Number(n), Number(output)]));
  }

  /**
   * Resolves when fewer than `count` jobs of an action have not ended: when all have, if it is left out. Its look at
   * the file costs the kernel nothing but a share of the processor.
   */
  async fewer(action: string, count = 1): Promise<void> {
    for (const deadlineMs = performance.now() + endTimeoutMs; performance.now() < deadlineMs;) {
      if (this.unfinished(action) < count) return;
      await new Promise((resolve) => setTimeout(resolve, pollMs));
    }
    throw new Error(`Cannot finish the jobs of "${action}": time is over`);
  }

  #count(sql: string, value: string): number {
    return Number(this.#db.prepare(sql).get(value)?.["count"]);
  }
}

/** Wall-clock milliseconds with a fraction, as the plugin of a bench has them too. */
export function wallMs(): number {
  return performance.timeOrigin + performance.now();
}

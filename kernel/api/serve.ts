/**
 * The server: the API on a listening socket, and its end.
 *
 * @module
 */
import { createApp } from "./app.ts";
import type { ApiKernel } from "./context.ts";

export interface ServeApiOptions {
  readonly kernel: ApiKernel;
  readonly host: string;
  /** 0 picks a free port. */
  readonly port: number;
  readonly swaggerUiFolder: string;
  /** Ends the server at once, connections included. */
  readonly signal?: AbortSignal;
}

export interface ApiServer {
  /** The port that is listened on. */
  readonly port: number;
  /** Resolves when the last connection is closed. */
  readonly finished: Promise<void>;
  /** Takes no more connections, lets requests under way end within `drainTimeoutMs`, then ends them. */
  shutdown(): Promise<void>;
}

/** Throws if the address cannot be listened on. */
export function serveApi({ kernel, host, port, swaggerUiFolder, signal }: ServeApiOptions): ApiServer {
  const app = createApp(kernel, { swaggerUiFolder });
  const overdue = new AbortController();
  const server = Deno.serve({
    hostname: host,
    port,
    signal: signal === undefined ? overdue.signal : AbortSignal.any([signal, overdue.signal]),
    // The warden prints the ready line; stdout belongs to the kernel's messages.
    onListen: () => undefined,
  }, (request) => app.fetch(request));
  return {
    port: server.addr.port,
    finished: server.finished,
    shutdown: async () => {
      const timer = setTimeout(() => overdue.abort(), kernel.config.http.drainTimeoutMs);
      try {
        await server.shutdown();
      } finally {
        clearTimeout(timer);
      }
    },
  };
}

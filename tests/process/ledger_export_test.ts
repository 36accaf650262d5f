/**
 * Readers of an export who take nothing: what they cost is bounded by what their sockets hold.
 *
 * @module
 */
import { equal, ok } from "node:assert/strict";
import { exportsPerCallerMax } from "../../kernel/api/ledger_export.ts";
import { serveApi } from "../../kernel/api/serve.ts";
import { bearer, createTestingKernel, note } from "../../kernel/api/testing_kernel.ts";
import { until } from "../support/airlock.ts";

const chunkBytes = 65_536;
const bytesMax = 67_108_864;

/** Asks for an export and reads the status of the answer, and nothing more. */
async function askAndStall(port: number): Promise<{ connection: Deno.Conn; status: string }> {
  const connection = await Deno.connect({ port });
  const { authorization } = bearer("viewer");
  const head = `GET /v1/ledger/export HTTP/1.1\r\nhost: x\r\nauthorization: ${authorization}\r\n\r\n`;
  await connection.write(new TextEncoder().encode(head));
  const bytes = new Uint8Array(12);
  for (let filled = 0; filled < bytes.length;) {
    filled += await connection.read(bytes.subarray(filled)) ?? bytes.length;
  }
  return { connection, status: new TextDecoder().decode(bytes).slice(-3) };
}

Deno.test("a hundred readers who take nothing have a few exports made, and no more of them than sockets hold", async () => {
  const made = { begun: 0, ended: 0, chunks: 0 };
  async function* endless() {
    made.begun += 1;
    try {
      for (;; made.chunks += 1) yield await Promise.resolve(new Uint8Array(chunkBytes));
    } finally {
      made.ended += 1;
    }
  }
  const header = {
    format: "airlock-ledger-bundle@v1" as const,
    origin: "o",
    from: 0,
    to: 3,
    size: 3,
    checkpoint: note,
  };
  const kernel = createTestingKernel({
    reader: {
      bundle: () =>
        Promise.resolve({ header: { ...header, keys: [], left: [], right: [] }, lines: endless() }),
    },
  });
  const server = serveApi({ kernel, host: "127.0.0.1", port: 0, swaggerUiFolder: "/nowhere" });
  const stalled = await Promise.all(Array.from({ length: 100 }, () => askAndStall(server.port)));
  equal(stalled.filter(({ status }) => status === "200").length, exportsPerCallerMax);
  equal(stalled.filter(({ status }) => status === "503").length, 100 - exportsPerCallerMax);
  let before = -1;
  await until("the sockets are full", () => before === (before = made.chunks));
  ok(made.chunks * chunkBytes < bytesMax, `${made.chunks} chunks`);
  for (const { connection } of stalled) connection.close();
  await until("their exports have ended", () => made.ended === made.begun);
  equal(made.begun, exportsPerCallerMax);
  await server.shutdown();
  await server.finished;
});

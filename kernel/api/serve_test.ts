import assert from "node:assert/strict";
import { serveApi } from "./serve.ts";
import { bearer, createTestingKernel, resultOf } from "./testing_kernel.ts";

const address = { host: "127.0.0.1", swaggerUiFolder: "/nowhere" };

Deno.test("serveApi() answers on the port that it tells", async () => {
  const server = serveApi({ ...address, kernel: createTestingKernel(), port: 0 });
  assert.ok(server.port > 0);
  const response = await fetch(`http://127.0.0.1:${server.port}/healthz`);
  assert.equal((await response.json()).status, "ok");
  await server.shutdown();
  await server.finished;
});

Deno.test("serveApi() throws if the port is taken", async () => {
  const kernel = createTestingKernel();
  const server = serveApi({ ...address, kernel, port: 0 });
  assert.throws(
    () => serveApi({ ...address, kernel, port: server.port }),
    /^Error: Cannot listen on ".*": the port is in use$/,
  );
  await server.shutdown();
  await server.finished;
});

Deno.test("serveApi() lets a call under way have its answer before shutdown is done", async () => {
  const called = Promise.withResolvers<void>();
  const go = Promise.withResolvers<void>();
  const kernel = createTestingKernel({
    invoke: async () => {
      called.resolve();
      await go.promise;
      return resultOf("7");
    },
  });
  const server = serveApi({ ...address, kernel, port: 0 });
  const answer = fetch(`http://127.0.0.1:${server.port}/v1/plugins/hello/actions/greet`, {
    method: "POST",
    headers: bearer("invoker"),
  });
  await called.promise;
  const closing = server.shutdown();
  go.resolve();
  assert.equal((await (await answer).json()).output, 7);
  await closing;
  await server.finished;
});

Deno.test("serveApi() does not wait for ever for a client that went silent", async () => {
  const kernel = createTestingKernel({ config: { http: { drainTimeoutMs: 20 } } });
  const server = serveApi({ ...address, kernel, port: 0 });
  {
    using client = await Deno.connect({ hostname: "127.0.0.1", port: server.port });
    await client.write(new TextEncoder().encode(
      "POST /v1/plugins/hello/stop HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n" +
        `authorization: ${bearer("admin").authorization}\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n`,
    ));
    await server.shutdown();
  }
  await server.finished;
});

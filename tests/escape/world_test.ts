import { equal } from "node:assert/strict";
import { createSocket } from "node:dgram";
import { until } from "../support/airlock.ts";
import { makeOutside } from "./world.ts";

Deno.test("makeOutside() counts connections, datagrams and bytes that come to what was not granted", async () => {
  await using outside = await makeOutside();
  equal(outside.connections(), 0);
  const comes = async (count: number) =>
    await until(`${count} came`, () => outside.connections() === count, 5_000);

  (await Deno.connect({ hostname: "127.0.0.1", port: outside.secretPort })).close();
  await comes(1);
  (await Deno.connect({ transport: "unix", path: outside.outsideSocket })).close();
  await comes(2);
  const socket = createSocket("udp4");
  const sent = Promise.withResolvers<void>();
  socket.send("x", outside.secretPort, "127.0.0.1", (error) => error ? sent.reject(error) : sent.resolve());
  await sent.promise;
  await comes(3);
  const closed = Promise.withResolvers<void>();
  socket.close(() => closed.resolve());
  await closed.promise;
  await Deno.writeTextFile(outside.fifo, "x", { append: true });
  await comes(4);
});

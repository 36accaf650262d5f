// The floor of `bench/stream.ts`: Hono alone, which streams as many tokens of as many characters as it is asked for.
import { Hono } from "hono";
import { streamSSE } from "hono/streaming";

const app = new Hono();
app.get("/", (c) =>
  streamSSE(c, async (stream) => {
    const tokens = Number(c.req.query("tokens"));
    const data = JSON.stringify("t".repeat(Number(c.req.query("chars"))));
    for (let id = 1; id <= tokens; id++) await stream.writeSSE({ id: String(id), event: "TOKEN", data });
    await stream.writeSSE({ event: "COMPLETE", data: "{}" });
  }));
Deno.serve({
  hostname: "127.0.0.1",
  port: 0,
  onListen: ({ port }) => console.log(`http://127.0.0.1:${port}/`),
}, app.fetch);

// A floor of `bench/http.ts`: Hono alone, which parses a JSON body and answers with it.
import { Hono } from "hono";

const app = new Hono();
app.post("/", async (c) => c.json({ output: await c.req.json() }));
Deno.serve({
  hostname: "127.0.0.1",
  port: 0,
  onListen: ({ port }) => console.log(`http://127.0.0.1:${port}/`),
}, app.fetch);

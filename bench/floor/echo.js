// The floor of `bench/call.ts`: a process that passes length-first frames from a Unix socket to its Worker
// and back, and does nothing else.
const worker = new Worker(new URL("./echo_worker.js", import.meta.url), { type: "module" });
const connection = await Deno.connect({ transport: "unix", path: Deno.args[0] });

worker.onmessage = async ({ data }) => {
  const frame = new Uint8Array(4 + data.length);
  new DataView(frame.buffer).setUint32(0, data.length);
  frame.set(data, 4);
  for (let at = 0; at < frame.length;) at += await connection.write(frame.subarray(at));
};

const chunk = new Uint8Array(65_536);
let pending = new Uint8Array(0);
for (;;) {
  const read = await connection.read(chunk);
  if (read === null) Deno.exit(0);
  const joined = new Uint8Array(pending.length + read);
  joined.set(pending);
  joined.set(chunk.subarray(0, read), pending.length);
  let at = 0;
  while (joined.length - at >= 4) {
    const length = new DataView(joined.buffer).getUint32(at);
    if (joined.length - at < 4 + length) break;
    worker.postMessage(joined.slice(at + 4, at + 4 + length));
    at += 4 + length;
  }
  pending = joined.slice(at);
}

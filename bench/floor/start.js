// The floor of `bench/start.ts`: a process with one Worker, which says that its Worker has spoken.
const worker = new Worker(new URL("./start_worker.ts", import.meta.url), { type: "module" });
worker.onmessage = () => {
  Deno.stdout.writeSync(new Uint8Array([10]));
  Deno.exit(0);
};

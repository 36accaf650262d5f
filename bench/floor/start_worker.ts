/// <reference no-default-lib="true" />
/// <reference lib="deno.worker" />
// TypeScript, as a plugin is.
const message: { type: string } = { type: "ready" };
self.postMessage(message);
export {};

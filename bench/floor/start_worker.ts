const message: { type: string } = { type: "ready" };
self.postMessage(message);
export {};

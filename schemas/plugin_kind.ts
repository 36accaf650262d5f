/**
 * The kinds of plugins: what sort of thing one is, for those who choose among many.
 *
 * @module
 */

export const pluginKinds = [
  "ai-model",
  "web-extension",
  "p2p-protocol",
  "prompt-processor",
  "system-optimizer",
  "device-driver",
  "custom",
] as const;

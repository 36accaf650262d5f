/**
 * The parts of a manifest that this version takes note of and does not serve.
 *
 * A manifest is written for years and for hosts of several versions, so such a part is no fault. It is said to
 * the operator, and nothing is granted for it. Pure.
 *
 * @module
 */
import type { Manifest } from "../../schemas/manifest.ts";

/** Their names, as a manifest spells them. */
export function unservedParts(
  { capabilities, dependencies, config, ui }: Manifest,
): string[] {
  const { host } = capabilities;
  const parts: [name: string, isUsed: boolean][] = [
    ["capabilities.host.kv", host.kv !== undefined],
    ["capabilities.host.call", host.call.length > 0],
    ["capabilities.host.runner", host.runner.length > 0],
    ["capabilities.host.devices", host.devices.length > 0],
    ["capabilities.host.ai", host.ai.length > 0],
    ["capabilities.host.systemConfig", host.systemConfig.length > 0],
    ["capabilities.host.custom", Object.keys(host.custom).length > 0],
    ["capabilities.host.secrets", Object.keys(host.secrets).length > 0],
    ["capabilities.host.events", host.events.publish.length + host.events.subscribe.length > 0],
    ["capabilities.host.jobs", host.jobs],
    ["capabilities.host.http", host.http.length > 0],
    ["dependencies", dependencies.length > 0],
    ["config", config !== undefined],
    ["ui", ui.panels.length + ui.widgets.length > 0],
  ];
  return parts.filter(([, isUsed]) => isUsed).map(([name]) => name);
}

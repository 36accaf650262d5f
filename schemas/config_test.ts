import { equal, match } from "node:assert/strict";
import { configSchema } from "./config.ts";

// A start writes entries for all plugins at once: with a shorter queue there would be none.
Deno.test("configSchema takes no queue of the ledger that is too short for a start", () => {
  for (const [queueRecordsMax, expected] of [[1, false], [4_095, false], [4_096, true]] as const) {
    equal(configSchema.safeParse({ ledger: { queueRecordsMax } }).success, expected, String(queueRecordsMax));
  }
});

// What a browser never sends would allow nothing, and nobody would know why.
Deno.test("configSchema takes origins and hosts as browsers tell them, and says what is expected of others", () => {
  const origins: [string, boolean][] = [
    ["https://console.example", true],
    ["http://10.0.0.5:8080", true],
    ["https://[::1]:8443", true],
    ["chrome-extension://abcdefgh", true],
    ["https://console.example/", false],
    ["https://console.example/path", false],
    ["https://Console.example", false],
    ["https://console.example:443", false],
    ["https://user@console.example", false],
    ["console.example", false],
    ["*", false],
    ["null", false],
    ["", false],
  ];
  for (const [origin, expected] of origins) {
    const result = configSchema.safeParse({ streams: { origins: [origin] } });
    equal(result.success, expected, origin);
    if (result.error) match(result.error.issues[0]?.message ?? "", /^must be an origin as browsers tell it/);
  }
  const hosts: [string, boolean][] = [
    ["airlock.example", true],
    ["Airlock.example:8787", true],
    ["10.0.0.5", true],
    ["[fd00::5]:8787", true],
    ["fd00::5", false],
    ["https://airlock.example", false],
    ["airlock.example/", false],
    ["airlock.example:", false],
    ["airlock.example:65536", false],
    ["*.example", false],
    ["", false],
  ];
  for (const [host, expected] of hosts) {
    const result = configSchema.safeParse({ streams: { hosts: [host] } });
    equal(result.success, expected, host);
    if (result.error) match(result.error.issues[0]?.message ?? "", /^must be a host or host:port/);
  }
});

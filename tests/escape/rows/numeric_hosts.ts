/**
 * Numeric hosts: addresses in disguise, which resolve without a name server, as an operator or a manifest
 * might be made to take them.
 *
 * @module
 */
import { type AttackRow, type PackageRow, type Row, rowsOf } from "../row.ts";
import { packageFiles } from "./package_files.ts";

const spellings = ["0x7f000001", "2130706433", "127.1", "0177.0.0.1", "0x7f.1", "127.0.0.1.", "017700000001"];

const grants: AttackRow[] = [
  {
    name: "a grant of a name that is the loopback's address in disguise",
    by: "grantee",
    advisories: ["CVE-2026-49859", "CVE-2026-49860"],
    grants: ({ secretPort }) => ({
      net: ["0x7f000001", "2130706433", "127.1", "0177.0.0.1", "127.0.0.1."].map((host) =>
        `${host}:${secretPort}`
      ),
    }),
    attack: () => "never",
    expected: "fails GRANT_REFUSED",
    says: /\/net\/0.*\/net\/1.*\/net\/2.*\/net\/3.*\/net\/4/,
  },
  {
    name: "private addresses by fetch, WebSocket, EventSource and connect, beside a granted public address",
    by: "grantee",
    advisories: ["CVE-2026-49859", "CVE-2026-49860"],
    grants: ({ secretPort }) => ({ net: [`192.0.2.1:${secretPort}`] }),
    attack: async ({ secretPort: port }, t) => {
      const net = await import("node:net");
      const opened = (source: EventTarget) =>
        new Promise((resolve, reject) => {
          source.addEventListener("open", () => resolve("opened"));
          source.addEventListener("error", () => reject(new Error("refused")));
        });
      const connected = (host: string) =>
        new Promise((resolve, reject) =>
          net.connect(port, host).once("connect", () => resolve("connected")).once("error", reject)
        );
      const hosts = [
        "127.0.0.1",
        "0x7f000001",
        "127.1",
        "localhost",
        "localhost.",
        "[::1]",
        "[::ffff:7f00:1]",
      ];
      return await t.refused(hosts.flatMap((host) => [
        async () => (await fetch(`http://${host}:${port}/`)).text(),
        () => opened(new WebSocket(`ws://${host}:${port}/`)),
        () => opened(new EventSource(`http://${host}:${port}/`)),
        async () => (await Deno.connect({ hostname: host.replaceAll(/[[\]]/g, ""), port })).close(),
        () => connected(host.replaceAll(/[[\]]/g, "")),
      ]));
    },
    expected: 'gives "refused"',
  },
];

/** A public name needs no operator: a manifest that asks for one is given it. */
const packages: PackageRow[] = spellings.map((host) => ({
  name: `a package that asks for the host "${host}", the loopback's, as a public one`,
  files: (id, { secretPort }) =>
    packageFiles(
      id,
      `export const actions = { run: async () => (await fetch("http://${host}:${secretPort}/")).text() };`,
      { capabilities: { net: [`${host}:${secretPort}`] } },
    ),
  expected: "fails PLUGIN_REJECTED",
}));

export const numericHostRows: Row[] = rowsOf("addresses", [...grants, ...packages]);

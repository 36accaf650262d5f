/**
 * Datagrams: what needs no connection may not leave either, nor what a name server would be asked.
 *
 * @module
 */
import { type AttackRow, type Row, rowsOf } from "../row.ts";

const denied = "throws NotCapable";

const attacks: AttackRow[] = [
  {
    name: "datagrams by the runtime's own functions, of which a cell has none",
    by: "online",
    attack: () => {
      const has = (of: object) => (name: string) => Reflect.get(of, name) !== undefined;
      return [
        ...["listenDatagram", "connectQuic", "QuicEndpoint", "upgradeWebTransport"].filter(has(Deno)),
        ...["WebTransport", "RTCPeerConnection"].filter(has(globalThis)),
      ];
    },
    expected: "gives []",
  },
  {
    name: "datagrams by node:dgram, from any address",
    by: "online",
    spoils: true,
    attack: async ({ secretPort }, t) => {
      const dgram = await import("node:dgram");
      const sent = (from: number | undefined, isConnected: boolean) =>
        new Promise((resolve, reject) => {
          // Some of it throws where nobody can catch it.
          globalThis.addEventListener("error", (event) => (event.preventDefault(), reject(event.error)));
          globalThis.addEventListener(
            "unhandledrejection",
            (event) => (event.preventDefault(), reject(event.reason)),
          );
          const socket = dgram.createSocket("udp4").once("error", reject);
          const told = (error: unknown) => error ? reject(error) : resolve("sent");
          const send = () =>
            isConnected
              ? socket.connect(secretPort, "127.0.0.1", () => socket.send("x", told))
              : socket.send("x", secretPort, "127.0.0.1", told);
          if (from === undefined) send();
          else socket.bind(from, "127.0.0.1", send);
        });
      return await t.each([undefined, 0].flatMap((from) => [false, true].map((is) => () => sent(from, is))));
    },
    expected: denied,
  },
  {
    name: "datagrams by node:dgram, from the one address that is granted to one that is not, and to itself",
    by: "online",
    spoils: true,
    attack: async ({ secretPort, openPort }, t) => {
      const { createSocket } = await import("node:dgram");
      const socket = createSocket("udp4");
      await new Promise<void>((resolve, reject) =>
        socket.once("error", reject).bind(openPort, "127.0.0.1", resolve)
      );
      const send = (port: number) =>
        new Promise((resolve, reject) =>
          socket.send("x", port, "127.0.0.1", (error) => error ? reject(error) : resolve("sent"))
        );
      return [await send(openPort), await t.refused([() => send(secretPort)])];
    },
    expected: 'gives ["sent","refused"]',
  },
  {
    name: "a name server of its own, by Deno.resolveDns",
    by: "online",
    attack: ({ secretPort: port }, t) =>
      t.each(
        (["A", "TXT"] as const).map((type) => () =>
          Deno.resolveDns("secret.example.com", type, { nameServer: { ipAddr: "127.0.0.1", port } })
        ),
      ),
    expected: denied,
  },
  {
    name: "a name server of its own, by node:dns, which may look at the machine's interfaces for it",
    by: "grantee",
    grants: () => ({ sys: ["networkInterfaces"] }),
    attack: async ({ secretPort }, t) => {
      const dns = await import("node:dns/promises");
      const resolver = new dns.Resolver();
      resolver.setServers([`127.0.0.1:${secretPort}`]);
      return await t.refused([
        () => resolver.resolveTxt("secret.example.com"),
        () => resolver.resolve4("secret.example.com"),
        () => resolver.reverse("192.0.2.1"),
      ]);
    },
    expected: 'gives "refused"',
  },
];

export const datagramRows: Row[] = rowsOf("addresses", attacks);

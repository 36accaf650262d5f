/**
 * Addresses: what was not granted, by every name it has, by every protocol, and by way of what was.
 *
 * @module
 */
import { realProgram } from "../attackers.ts";
import { type AttackRow, type Row, rowsOf } from "../row.ts";

const denied = "throws NotCapable";

const attacks: AttackRow[] = [
  ...(["bare", "online"] as const).map((by): AttackRow => ({
    name: `fetch from the loopback by every spelling of its address, ${by}`,
    by,
    attack: ({ secretPort, kernelPort }, t) => {
      const hosts = [
        ...[
          "127.0.0.1",
          "127.1",
          "127.0.0.2",
          "2130706433",
          "0x7f000001",
          "0177.0.0.1",
          "0x7f.1",
          "0.0.0.0",
          "0",
        ],
        ...["localhost", "localhost.", "LOCALHOST", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]"],
        ...["127.0.0.1.", "①②⑦.0.0.1", "user:secret@127.0.0.1", "127。0。0。1"],
      ];
      return t.each(
        hosts.flatMap((host) =>
          [secretPort, kernelPort].map((port) => async () => (await fetch(`http://${host}:${port}/`)).text())
        ),
      );
    },
    expected: denied,
  })),
  {
    name: "connect to the loopback by every spelling, with the socket's own functions",
    by: "online",
    attack: ({ secretPort: port }, t) =>
      t.each(
        [
          "127.0.0.1",
          "127.0.0.2",
          "localhost",
          "::1",
          "::ffff:127.0.0.1",
          "0.0.0.0",
          "::",
          "0x7f000001",
          "127.1",
        ]
          .flatMap((hostname) => [
            async () => (await Deno.connect({ hostname, port })).close(),
            async () => (await Deno.connectTls({ hostname, port })).close(),
          ]),
      ),
    expected: denied,
  },
  {
    name: "reach the cloud's metadata, a private network and a link-local address",
    by: "online",
    attack: (_aim, t) =>
      t.each(
        [
          "169.254.169.254",
          "10.0.0.1",
          "192.168.0.1",
          "172.16.0.1",
          "100.64.0.1",
          "[fd00:ec2::254]",
          "[fe80::1]",
          "metadata.google.internal",
        ]
          .map((host) => async () => (await fetch(`http://${host}/`)).text()),
      ),
    expected: denied,
  },
  {
    name: "be redirected by a granted server to one that is not granted",
    by: "online",
    attack: ({ openPort, secretPort, kernelPort }, t) =>
      t.each(
        [
          `http://127.0.0.1:${secretPort}/`,
          `http://localhost:${secretPort}/`,
          `http://127.0.0.1:${kernelPort}/healthz`,
        ]
          .map((to) => async () =>
            (await fetch(`http://127.0.0.1:${openPort}/?to=${encodeURIComponent(to)}`)).text()
          ),
      ),
    expected: denied,
  },
  {
    name: "be redirected by a granted server to a file outside",
    by: "online",
    attack: async ({ openPort, canary }) =>
      (await fetch(`http://127.0.0.1:${openPort}/?to=${encodeURIComponent(`file://${canary}`)}`)).text(),
    expected: "throws TypeError",
  },
  {
    name: "reach what is not granted through a proxy, and a proxy that is not granted",
    by: "online",
    attack: ({ openPort, secretPort, outsideSocket }, t) => {
      const through = (proxy: Deno.Proxy, url: string) => async () => {
        using client = Deno.createHttpClient({ proxy });
        return (await fetch(url, { client })).text();
      };
      const granted = `http://127.0.0.1:${openPort}/`;
      return t.each([
        through({ url: `http://127.0.0.1:${secretPort}` }, granted),
        through({ url: `socks5://127.0.0.1:${secretPort}` }, granted),
        through({ transport: "unix", path: outsideSocket }, granted),
        through({ url: granted }, `http://127.0.0.1:${secretPort}/`),
      ]);
    },
    expected: denied,
  },
  {
    name: "WebSocket and EventSource to what is not granted",
    advisories: ["CVE-2026-49860"],
    by: "bare",
    attack: ({ secretPort }, t) => {
      const opened = (make: () => EventTarget) => () =>
        new Promise((resolve) => {
          const source = make();
          source.addEventListener("open", () => resolve("opened"));
          source.addEventListener("error", () => resolve("refused"));
        });
      return Promise.all([
        opened(() => new WebSocket(`ws://127.0.0.1:${secretPort}/`)),
        opened(() => new EventSource(`http://127.0.0.1:${secretPort}/`)),
        // The error's class does not matter: it must not open.
      ].map((attempt) => t.each([attempt]).catch(() => "refused")));
    },
    expected: 'gives ["refused","refused"]',
  },
  {
    name: "listen: TCP, HTTP and Unix",
    by: "bare",
    attack: ({ outside }, t) =>
      t.each([
        () => Deno.listen({ port: 0 }).close(),
        () => Deno.listen({ hostname: "127.0.0.1", port: 0 }).close(),
        () => Deno.serve({ hostname: "127.0.0.1", port: 0 }, () => new Response("x")).shutdown(),
        () => Deno.listen({ transport: "unix", path: `${outside}/made` }).close(),
        () => Deno.listen({ transport: "unix", path: `${t.data}/made` }).close(),
        () => Deno.listen({ transport: "unix", path: "\0escape" }).close(),
      ]),
    expected: denied,
  },
  {
    name: "listen on and beside the one address that is granted for connecting",
    by: "online",
    attack: ({ secretPort }, t) =>
      t.each([
        () => Deno.listen({ hostname: "127.0.0.1", port: 0 }).close(),
        () => Deno.listen({ hostname: "0.0.0.0", port: secretPort }).close(),
        () => Deno.listen({ hostname: "127.0.0.2", port: secretPort }).close(),
      ]),
    expected: denied,
  },
  {
    name: "connect to Unix sockets: one outside, the cells' own, abstract ones",
    by: "online",
    attack: ({ outsideSocket, socket }, t) =>
      t.each(
        [outsideSocket, socket, "\0escape", "/run/docker.sock"].map((path) => async () =>
          (await Deno.connect({ transport: "unix", path })).close()
        ),
      ),
    expected: denied,
  },
  {
    name: "ask a name server",
    by: "online",
    attack: ({ secretPort }, t) =>
      t.each([
        () => Deno.resolveDns("example.com", "A"),
        () =>
          Deno.resolveDns("secret.example.com", "TXT", {
            nameServer: { ipAddr: "127.0.0.1", port: secretPort },
          }),
      ]),
    expected: denied,
  },
  {
    name: "a grant of every host, of a host without a port, of two hosts in one",
    advisories: ["CVE-2025-48888"],
    by: "grantee",
    grants: () => ({
      net: ["*", "127.0.0.1", "127.0.0.1:1,127.0.0.1:2", "*.example.com:443", "unix:/run/x"],
    }),
    attack: () => "never",
    expected: "fails GRANT_REFUSED",
    says: /\/net\/0.*\/net\/1.*\/net\/2.*\/net\/3.*\/net\/4/,
  },
  {
    name: "a granted program without a net grant connects to the loopback",
    by: "runner",
    attack: ({ secretPort, kernelPort, outsideSocket }, t) =>
      t.perl(
        `use IO::Socket::INET; use IO::Socket::UNIX;
        for (${secretPort}, ${kernelPort}) { IO::Socket::INET->new(PeerAddr => "127.0.0.1:$_", Timeout => 2) and print "connected $_\\n" }
        IO::Socket::UNIX->new(Peer => "${outsideSocket}") and print "connected\\n"; print "end"`,
      ),
    expected: { sealed: 'gives "end"' },
  },
  {
    name: "a granted program beside a net grant, which would be the whole network's to it",
    by: "grantee",
    grants: ({ openPort }) => ({ run: [realProgram("perl")], net: [`127.0.0.1:${openPort}`] }),
    attack: () => "never",
    expected: "fails GRANT_REFUSED",
    says: /programsOnNetwork/,
  },
];

export const addressRows: Row[] = rowsOf("addresses", attacks);

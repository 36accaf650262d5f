import { deepEqual, equal, rejects } from "node:assert/strict";
import { EntryClient, type EntryFilter } from "./entry_client.ts";
import { KernelAwayError } from "./kernel_client.ts";
import { UnreadableError } from "./unreadable_error.ts";

interface Asked {
  readonly url: URL;
  readonly init: RequestInit;
}

function createClient(answer: () => Response, filter: EntryFilter = [], url = "http://127.0.0.1:1/airlock/") {
  const asked: Asked[] = [];
  const client = new EntryClient({
    url: new URL(url),
    token: "secret",
    filter,
    fetch: (url, init) => {
      asked.push({ url, init });
      return Promise.resolve().then(answer);
    },
  });
  const { signal } = new AbortController();
  return {
    asked,
    page: (after = -1, limit = 10) => client.page(after, limit, signal),
    size: () => client.size(signal),
  };
}

const item = (index: number) => ({ index, leafHash: "0".repeat(64), line: `line ${index}` });
const page = (indexes: readonly number[], next: string | null = null) => () =>
  Response.json({ items: indexes.map(item), next });
const isUnreadable = (pattern: RegExp, isAway = false) => (error: unknown) =>
  error instanceof UnreadableError && error instanceof KernelAwayError === isAway &&
  pattern.test(error.message);

Deno.test("EntryClient asks below the address, with the filter as it was given, and follows no redirect", async () => {
  const { asked, page: ask } = createClient(page([], null), [["type", "call.*"], ["type", "a&b"], [
    "plugin",
    "x y",
  ]]);
  await ask();
  await ask(7);
  const query = "type=call.*&type=a%26b&plugin=x+y&limit=10";
  deepEqual(asked.map(({ url }) => url.href), [
    `http://127.0.0.1:1/airlock/v1/ledger/entries?${query}`,
    `http://127.0.0.1:1/airlock/v1/ledger/entries?${query}&after=7`,
  ]);
  equal(asked[0]?.init.redirect, "manual");
  equal(new Headers(asked[0]?.init.headers).get("authorization"), "Bearer secret");
});

Deno.test("EntryClient refuses a page that repeats entries, leaves some out, or never ends", async () => {
  const filter: EntryFilter = [["actor", "kernel"]];
  const rows: readonly [answer: () => Response, filter: EntryFilter, message: RegExp][] = [
    [page([0, 2]), [], /entry 0 follows 4/],
    [page([5, 7]), [], /entry 7 follows 5/],
    [page([5, 5]), filter, /entry 5 follows 5/],
    [page([9, 8]), filter, /entry 8 follows 9/],
    [page([], "4"), filter, /the next page is after "4"/],
    [page([9], "8"), filter, /the next page is after "8"/],
    [page([9], "1e99"), filter, /the next page is after/],
    [page([5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]), filter, /11 entries, 10 were asked for/],
    [() => Response.json({ items: [{ index: 5 }], next: null }), [], /not what an Airlock answers/],
    [() => new Response("<html>"), [], /not what an Airlock answers/],
  ];
  for (const [answer, filter, message] of rows) {
    await rejects(createClient(answer, filter).page(4), isUnreadable(message));
  }
  deepEqual((await createClient(page([6, 9], "12"), filter).page(4)).next, 12);
});

Deno.test("EntryClient says what to do, and tells a kernel that is away from one that refuses", async () => {
  const problem = (status: number, code: string) => () =>
    Response.json({ type: "about:blank", title: "x", status, code, detail: "Cannot read: no" }, { status });
  const rows: readonly [answer: () => Response, message: RegExp, isAway: boolean][] = [
    [
      () => {
        throw new TypeError("connection refused");
      },
      /no kernel answers there; start one \(serve\), or give its address as --url/,
      true,
    ],
    [problem(401, "UNAUTHENTICATED"), /give its own, DATA\/admin.token, as --token-file/, false],
    [problem(403, "FORBIDDEN"), /one with the role viewer may/, false],
    [problem(422, "INPUT_INVALID"), /Cannot read: no/, false],
    [problem(404, "NOT_FOUND"), /Cannot read: no; look at --url$/, false],
    [problem(503, "NOT_READY"), /Cannot read: no; try again/, true],
    [
      () => new Response("", { status: 302, headers: { location: "http://elsewhere/" } }),
      /302, as no Airlock/,
      false,
    ],
  ];
  for (const [answer, message, isAway] of rows) {
    await rejects(createClient(answer).size(), isUnreadable(message, isAway));
  }
});

Deno.test("EntryClient reads no more of an answer than an Airlock sends", async () => {
  let sent = 0;
  const endless = () =>
    new Response(
      new ReadableStream({
        pull(controller) {
          sent += 1_048_576;
          controller.enqueue(new Uint8Array(1_048_576).fill(0x20));
        },
      }),
    );
  await rejects(createClient(endless).size(), isUnreadable(/larger than 33554432 bytes/));
  equal(sent < 40_000_000, true);
});

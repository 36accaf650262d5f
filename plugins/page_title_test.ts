/**
 * Tests of the plugin `page-title`, called directly, without a cell, against a real server.
 *
 * @module
 */
import assert from "node:assert/strict";
import { decodeEntities } from "./page-title/entities.ts";
import { readHead, readMetaCharset } from "./page-title/html.ts";
import { actions, type PageTitle, type TitleInput } from "./page-title/mod.ts";
import { createTestContext } from "./test_context.ts";

async function withServer(
  handler: (path: string, request: Request) => Response | Promise<Response>,
  run: (origin: string) => Promise<void>,
): Promise<void> {
  await using server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    (request) => handler(new URL(request.url).pathname, request),
  );
  await run(`http://127.0.0.1:${server.addr.port}`);
}

function page(body: BodyInit, contentType = "text/html; charset=utf-8"): Response {
  return new Response(body, { headers: { "content-type": contentType } });
}

function title(input: TitleInput, signal = new AbortController().signal): Promise<PageTitle> {
  return actions.title(input, createTestContext({ signal }));
}

const titles: [html: string, title: string | null][] = [
  ["<title>Plain</title>", "Plain"],
  ["<TITLE lang=en\n>Upper</TITLE >", "Upper"],
  ["<title>\n  two\t lines \r\n</title>", "two lines"],
  ["<title>a &lt;b&gt; <i>c</i></title>", "a <b> <i>c</i>"],
  ["<title></title><title>Second</title>", null],
  ["<title>Open ended", "Open ended"],
  ["<!-- <title>No</title> --><title>Yes</title>", "Yes"],
  ["<!--><title>After an empty comment</title>", "After an empty comment"],
  ["<!-- never closed <title>No</title>", null],
  ["<script>document.write('<title>No</title>')</script><title>Yes</title>", "Yes"],
  ["<script>no </scripty> end <title>No</title>", null],
  ["<svg><title>Icon</title></svg><title>Yes</title>", "Yes"],
  ["<svg/><title>Yes</title>", "Yes"],
  [`<a alt="<title>No</title>" data-x='>'><title>Yes</title>`, "Yes"],
  ["<a title=<title>x</a><title>Yes</title>", "Yes"],
  ["1 < 2 <title>Yes</title>", "Yes"],
  ["<titles>No</titles>", null],
  ['<meta property="og:title" content="Open &amp; Graph">', "Open & Graph"],
  ['<meta property="og:title" content="Graph"><title>Yes</title>', "Yes"],
  ["", null],
  ["<", null],
  ["</", null],
  ['<meta name="description" content="never closed', null],
];

Deno.test("readHead() finds the title that a browser would", () => {
  for (const [html, expected] of titles) assert.equal(readHead(html).title, expected, html);
});

Deno.test("readHead() finds the description, and takes og: where there is no other", () => {
  assert.equal(readHead(`<meta content='a "b"' NAME=Description>`).description, 'a "b"');
  assert.equal(
    readHead("<meta name=description content=bare><meta name=description content=2>").description,
    "bare",
  );
  assert.equal(
    readHead('<meta property="og:description" content="og"><meta name="description" content=" own ">')
      .description,
    "own",
  );
  assert.equal(readHead('<meta property="og:description" content="og">').description, "og");
  assert.equal(readHead("<meta name=description>").description, null);
});

Deno.test("readHead() bounds what it reports", () => {
  const { title } = readHead(`<title>${"x".repeat(100_000)}</title>`);
  assert.equal(title?.length, 2_048);
});

// Each of these takes minutes where a scanner starts over at every character.
Deno.test("readHead() takes hostile pages of a megabyte in its stride", () => {
  const pieces = [
    "<",
    "<a",
    "<a ",
    "<a b",
    "<!--",
    "<!-- --",
    "<title",
    "<title>",
    "</title",
    "<meta a=",
    "&",
    "&#",
  ]
    .concat(
      '<a b="',
      "<a b='",
      "<a b=\"<a c='",
      "<a =",
      "< ",
      " ",
      "/",
      "<script>",
      "<svg>",
      "<a/>",
      "<meta name=",
    );
  for (const piece of pieces) {
    for (const prefix of ["", "<title>", "<a ", '<a b="', "<a b=", "<!--", "<a b"]) {
      readHead(prefix + piece.repeat(Math.ceil(1_048_576 / piece.length)));
    }
  }
});

Deno.test("readMetaCharset() reads both ways of naming an encoding", () => {
  assert.equal(readMetaCharset('<meta charset="ISO-8859-2">'), "iso-8859-2");
  assert.equal(
    readMetaCharset('<meta http-equiv=Content-Type content="text/html; charset=koi8-r">'),
    "koi8-r",
  );
  assert.equal(readMetaCharset('<meta name="description" content="a; charset=koi8-r">'), undefined);
});

Deno.test("decodeEntities() decodes names and numbers, and leaves the rest", () => {
  assert.equal(decodeEntities("&lt;&eacute;&euro;&nbsp;&mdash;&yuml;&Agrave;"), "<é€\u00a0—ÿÀ");
  assert.equal(decodeEntities("&#65;&#x1F600;&#X41;&#66 &#146;"), "A😀AB ’");
  assert.equal(decodeEntities("&#0;&#xD800;&#x110000;&#9999999999999999;"), "\uFFFD\uFFFD\uFFFD\uFFFD");
  assert.equal(decodeEntities("AT&T & &unknown; &; &# &amp;lt;"), "AT&T & &unknown; &; &# &lt;");
});

Deno.test("title() gives address, status, title and description", async () => {
  const html = '<!doctype html><title>Home</title><meta name="description" content="Words.">';
  await withServer(
    (path) => path === "/" ? page(html) : new Response(html, { status: 404 }),
    async (origin) => {
      assert.deepEqual(await title({ url: origin }), {
        url: origin,
        finalUrl: `${origin}/`,
        status: 200,
        title: "Home",
        description: "Words.",
      });
    },
  );
});

Deno.test("title() reads the page of an error, too", async () => {
  await withServer(
    () => new Response("<title>Gone</title>", { status: 410, headers: { "content-type": "text/html" } }),
    async (origin) => {
      const { status, title: found } = await title({ url: origin });
      assert.deepEqual([status, found], [410, "Gone"]);
    },
  );
});

Deno.test("title() decodes by byte order mark, header, then meta", async () => {
  const latin1 = (text: string) => Uint8Array.from(text, (character) => character.charCodeAt(0));
  const pages: Record<string, Response> = {
    "/header": page(latin1("<title>caf\u00e9</title>"), "text/html; charset=ISO-8859-1"),
    "/quoted": page(latin1("<title>caf\u00e9</title>"), 'text/html;charset="latin1"'),
    "/meta": page(latin1("<meta charset=windows-1252><title>caf\u00e9</title>"), "text/html"),
    "/utf8": page("<title>café</title>", "text/html"),
    "/bom": page("\uFEFF<title>café</title>", "text/html; charset=ISO-8859-1"),
    "/unknown": page("<title>café</title>", "text/html; charset=no-such"),
    "/lie": page("<meta charset=utf-16><title>café</title>", "text/html"),
    "/utf16": page(
      latin1("\xff\xfe" + [..."<title>caf\u00e9</title>"].map((c) => `${c}\0`).join("")),
      "text/html",
    ),
  };
  const paths = Object.keys(pages);
  await withServer((path) => pages[path] ?? page("?"), async (origin) => {
    for (const path of paths) assert.equal((await title({ url: origin + path })).title, "café", path);
  });
});

Deno.test("title() follows five redirects and refuses a sixth", async () => {
  await withServer((path) => {
    const left = Number(path.slice(1));
    return left === 0 ? page("<title>End</title>") : new Response(null, {
      status: 302,
      headers: { location: `/${left - 1}` },
    });
  }, async (origin) => {
    const { title: found, finalUrl, url } = await title({ url: `${origin}/5` });
    assert.deepEqual([found, finalUrl, url], ["End", `${origin}/0`, `${origin}/5`]);
    await assert.rejects(title({ url: `${origin}/6` }), {
      message: `Cannot fetch "${origin}/6": it redirects more than 5 times`,
    });
  });
});

Deno.test("title() refuses addresses that are not of the web, also after a redirect", async () => {
  await withServer(
    () => new Response(null, { status: 301, headers: { location: "file:///etc/passwd" } }),
    async (origin) => {
      await assert.rejects(title({ url: origin }), {
        message:
          `Cannot fetch "file:///etc/passwd", which "${origin}/" redirects to: it is neither http nor https`,
      });
    },
  );
  await assert.rejects(title({ url: "example.com" }), {
    message: 'Cannot fetch "example.com": it is not an address',
  });
  for (const url of ["file:///etc/passwd", "data:text/html,x", "javascript:1"]) {
    await assert.rejects(title({ url }), { message: `Cannot fetch "${url}": it is neither http nor https` });
  }
  await assert.rejects(title({ url: "http://ada:secret@127.0.0.1:1/" }), {
    message: 'Cannot fetch "127.0.0.1:1": its address holds a name or a password',
  });
});

Deno.test("title() refuses what is not HTML", async () => {
  await withServer(() => page("{}", "application/json"), async (origin) => {
    await assert.rejects(title({ url: origin }), {
      message: `Cannot read the title of "${origin}/": it is application/json, not HTML`,
    });
  });
});

Deno.test("title() reads a megabyte of an endless page", async () => {
  let cancelled = () => {};
  const done = new Promise<void>((resolve) => cancelled = resolve);
  const piece = new TextEncoder().encode("x".repeat(65_536));
  const endless = () =>
    new ReadableStream<Uint8Array<ArrayBuffer>>({
      start: (controller) => controller.enqueue(new TextEncoder().encode("<title>Endless</title>")),
      pull: (controller) => controller.enqueue(piece),
      cancel: () => cancelled(),
    });
  await withServer(() => page(endless()), async (origin) => {
    assert.equal((await title({ url: origin })).title, "Endless");
    await done;
  });
});

Deno.test("title() gives up when the time is over, before and within the body", async () => {
  const silent = () =>
    new ReadableStream<Uint8Array<ArrayBuffer>>({ start: (c) => c.enqueue(new Uint8Array([60])) });
  const never = Promise.withResolvers<Response>();
  await withServer((path) => path === "/body" ? page(silent()) : never.promise, async (origin) => {
    for (const path of ["/body", "/head"]) {
      await assert.rejects(title({ url: origin + path, timeoutMs: 50 }), {
        message: `Cannot fetch "${origin}${path}": it took longer than 50 ms`,
      });
    }
    never.resolve(page(""));
  });
});

Deno.test("title() stops when its caller has gone", async () => {
  const arrived = Promise.withResolvers<void>();
  const answer = Promise.withResolvers<Response>();
  await withServer(() => (arrived.resolve(), answer.promise), async (origin) => {
    const controller = new AbortController();
    const running = title({ url: origin }, controller.signal);
    await arrived.promise;
    controller.abort(new Error("gone"));
    await assert.rejects(running, { message: "gone" });
    answer.resolve(page(""));
  });
});

Deno.test("title() says so when nothing listens", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const url = `http://127.0.0.1:${listener.addr.port}/`;
  listener.close();
  await assert.rejects(title({ url }), (error: Error) => error.message.startsWith(`Cannot fetch "${url}": `));
});

Deno.test({
  name: "title() of a host that is not granted says what to grant",
  permissions: { net: ["127.0.0.1:1"] },
  async fn() {
    for (
      const [url, host] of [["https://example.com/x", "example.com:443"], ["http://[::1]:8080", "[::1]:8080"]]
    ) {
      await assert.rejects(title({ url: url ?? "" }), (error: Error) => {
        return error.message.includes(`NotCapable, the operator has not granted "${host}"`) &&
          error.message.includes('"net" in the grants of "page-title"');
      });
    }
  },
});

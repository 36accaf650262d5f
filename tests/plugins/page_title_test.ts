import { equal, match } from "node:assert/strict";
import { Airlock } from "../support/airlock.ts";
import { testInEachTier } from "../support/tiers.ts";

interface PageTitle {
  finalUrl: string;
  status: number;
  title: string | null;
}

testInEachTier(
  "page-title reads a page of the host that the operator named, and of no other",
  async (tier) => {
    const page = (title: string) =>
      new Response(`<!doctype html><title>${title}</title>`, { headers: { "content-type": "text/html" } });
    let asked = 0;
    await using neighbour = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, () => {
      asked++;
      return page("neighbour");
    });
    const away = `http://127.0.0.1:${neighbour.addr.port}/`;
    await using server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, (request) => {
      const { pathname } = new URL(request.url);
      if (pathname === "/moved") return Response.redirect(new URL("/", request.url), 302);
      if (pathname === "/away") return Response.redirect(away, 302);
      return page("Tea &amp; biscuits");
    });
    const url = `http://127.0.0.1:${server.addr.port}`;
    await using airlock = await Airlock.start({ args: ["--tier", tier] });
    const title = (path: string) => airlock.call<PageTitle>("page-title", "title", { url: `${url}${path}` });

    match((await airlock.fail("page-title", "title", { url })).detail, /NotCapable/);
    const grants = { net: [`127.0.0.1:${server.addr.port}`] };
    equal((await airlock.request("PUT", "/v1/plugins/page-title/grants", grants)).status, 200);
    equal((await title("/")).title, "Tea & biscuits");
    equal((await title("/moved")).finalUrl, `${url}/`);
    match((await airlock.fail("page-title", "title", { url: away })).detail, /NotCapable/);
    match((await airlock.fail("page-title", "title", { url: `${url}/away` })).detail, /NotCapable/);
    match(
      (await airlock.fail("page-title", "title", { url: `http://localhost:${server.addr.port}` })).detail,
      /NotCapable/,
    );
    match(
      (await airlock.fail("page-title", "title", { url: `${airlock.url}/healthz` })).detail,
      /NotCapable/,
    );
    equal(asked, 0);
  },
);

/**
 * Page title fetches a web page and says what it is called: the plugin to read for the network.
 *
 * @module
 */
import type { Actions, Context } from "airlock/sdk";
import { type PageHead, readHead } from "./html.ts";
import { fetchPage } from "./page.ts";

/** Fits the input schema of the manifest. */
export interface TitleInput {
  url: string;
  timeoutMs?: number;
}

export interface PageTitle extends PageHead {
  url: string;
  finalUrl: string;
  status: number;
}

const timeoutInitialMs = 10_000;

export const actions = {
  async title(input: TitleInput, ctx: Context): Promise<PageTitle> {
    const { url, timeoutMs = timeoutInitialMs } = input;
    const deadline = new AbortController();
    const timer = setTimeout(
      () => deadline.abort(new Error(`Cannot fetch "${url}": it took longer than ${timeoutMs} ms`)),
      timeoutMs,
    );
    try {
      const { html, finalUrl, status } = await fetchPage(url, AbortSignal.any([ctx.signal, deadline.signal]));
      return { url, finalUrl, status, ...readHead(html) };
    } finally {
      clearTimeout(timer);
    }
  },
} satisfies Actions;

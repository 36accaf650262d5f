/**
 * The check for links in granted folders, in the process tier.
 *
 * There Deno follows a link without asking where it leads, so a link in a granted folder grants its target.
 * A plugin cannot make such a link by itself; an operator, another program or a program granted to an earlier
 * cell can. So a link that leads out of its granted folder refuses the start. A link that leads nowhere is
 * refused too: a write through it makes the file that it names.
 *
 * In the sealed tier nothing is walked: there the target of such a link does not exist, unless the cell sees it
 * anyway, and then as read-only as it is granted.
 *
 * @module
 */
import type { CellDescription } from "../../schemas/warden_protocol.ts";
import { WalkError, walkFolder } from "./folder_walk.ts";
import type { Pace } from "./pace.ts";
import { isInside } from "./check_description.ts";

const mend = "Remove it, or run the plugin in the sealed tier, where Deno cannot follow it";

export interface LinkCheckOptions {
  readonly entriesMax: number;
  readonly pace: Pace;
  readonly signal?: AbortSignal;
}

/** Rejects with `Cannot grant …`. The package's own folder holds no link: it was made by Airlock. */
export async function checkGrantedLinks(
  { packageDir, grants }: Pick<CellDescription, "packageDir" | "grants">,
  { entriesMax, pace, signal }: LinkCheckOptions,
): Promise<void> {
  const granted = [...new Set([...grants.read, ...grants.write])]
    .filter((path) => path !== packageDir && !isInside(path, packageDir));
  const roots = granted.filter((path) => !granted.some((other) => isInside(path, other)));
  let entries = 0;
  for (const root of roots) {
    try {
      for await (const { path, isSymlink } of walkFolder(root, pace, signal)) {
        if (++entries > entriesMax) {
          throw new Error(
            `Cannot grant "${root}": there are more than ${entriesMax} files to look at for links. Grant a ` +
              "smaller folder, raise cells.grantEntriesMax, or run the plugin in the sealed tier",
          );
        }
        if (isSymlink) checkLink(path, granted);
      }
    } catch (error) {
      if (!(error instanceof WalkError)) throw error;
      throw new Error(`Cannot grant "${root}": ${error.message}`, { cause: error });
    }
  }
}

/** It must stay in every granted folder that it lies in, because each may grant something else. */
function checkLink(link: string, granted: readonly string[]): void {
  const target = targetOf(link);
  for (const folder of granted.filter((path) => isInside(link, path))) {
    if (target === undefined) {
      throw new Error(`Cannot grant "${folder}": the link "${link}" leads nowhere. ${mend}`);
    }
    if (target !== folder && !isInside(target, folder)) {
      throw new Error(
        `Cannot grant "${folder}": the link "${link}" leads out of it, to "${target}". ${mend}`,
      );
    }
  }
}

function targetOf(link: string): string | undefined {
  try {
    return Deno.realPathSync(link);
  } catch {
    return undefined;
  }
}

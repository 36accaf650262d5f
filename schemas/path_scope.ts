/**
 * A path scope: the file or folder that one `read`, `write`, `run` or `ffi` capability or grant covers,
 * with everything below it.
 *
 * Paths are compared as texts, so each has one spelling: absolute, without `.`, `..` or doubled slashes.
 * Links are beyond this file, which is pure: whoever starts a cell resolves them first and asks again.
 *
 * @module
 */

/** The two folders a plugin can name without knowing where they are. */
export const packageToken = "${package}";
export const dataToken = "${data}";

export type PathResult = { ok: true; path: string } | { ok: false; message: string };

/** Deno serves these only to a process that may do everything; `/proc/self/root` is a second name of `/`. */
const specialFolders = ["/proc", "/sys", "/dev"];

/** Parses an absolute path, or one that begins with `${package}` or `${data}`. */
export function parsePathScope(text: string): PathResult {
  const token = [packageToken, dataToken].find((name) => text === name || text.startsWith(`${name}/`));
  if (token === undefined && !text.startsWith("/")) {
    return fault(`must be an absolute path, or begin with ${packageToken} or ${dataToken}`);
  }
  // Deno's permission flags separate paths by commas and know no escape.
  if (/[\0\r\n,]/.test(text)) return fault("must not contain a comma, a line break or NUL");
  if (text.includes("*")) return fault("must not contain *: a folder covers everything below it");
  const path = text.length > 1 && text.endsWith("/") ? text.slice(0, -1) : text;
  const segments = path.split("/").slice(1);
  if (path !== "/" && segments.some((segment) => segment === "" || segment === "." || segment === "..")) {
    return fault("must not contain the segments . and .. or doubled slashes");
  }
  return { ok: true, path };
}

/** Whether `path` is `folder` or lies below it. */
export function isWithin(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder.endsWith("/") ? folder : `${folder}/`);
}

/** Why an absolute path is refused whatever was requested; undefined if it is not. */
export function pathRefusal(path: string, forbidden: readonly string[]): string | undefined {
  if (path === "/") return "must name a folder or file, not everything";
  const special = specialFolders.find((folder) => isWithin(path, folder));
  if (special !== undefined) return `must not lie in ${special}`;
  if (forbidden.some((folder) => isWithin(path, folder) || isWithin(folder, path))) {
    return "must not lie in or above Airlock's data folder or its own code";
  }
  return undefined;
}

function fault(message: string): { ok: false; message: string } {
  return { ok: false, message };
}

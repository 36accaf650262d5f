/**
 * The registry: which plugins the plugin folders hold, each admitted into the store or rejected with
 * its reasons.
 *
 * Invariants:
 * - one bad plugin never stops the others;
 * - ids are unique in a scan: the first folder, in the order given and sorted by name, keeps its id; a
 *   rejected one whose id is taken is shown under another.
 *
 * @module
 */
import type { Manifest } from "../../schemas/manifest.ts";
import { pluginIdSchema } from "../../schemas/plugin_id.ts";
import { ProblemError } from "../../schemas/problem.ts";
import { concurrently } from "./concurrently.ts";
import { isSystemError } from "./package_files.ts";
import type { PackageStore } from "./package_store.ts";
import { type PackageGlance, readPackage, type ReadPackageOptions, rejection } from "./read_package.ts";
import { ReadingRoom } from "./reading_room.ts";

export interface AdmittedPlugin {
  kind: "admitted";
  /** Where it was read from. */
  folder: string;
  manifest: Manifest;
  /** Of the package, lower-case hex. */
  digest: string;
  /** Where it runs from: read-only, in the store. */
  packageFolder: string;
}

export interface RejectedPlugin {
  kind: "rejected";
  folder: string;
  /** The manifest's id where it can be read and is free, else one made from the folder's name. */
  id: string;
  /** Its manifest says so, where that much can be read. */
  isCritical: boolean;
  /** Of the package, where all of it could be read. */
  digest?: string | undefined;
  /** `id@version`, where the manifest could be read. */
  name?: string | undefined;
  /** PLUGIN_REJECTED, with every fault. */
  error: ProblemError;
}

export type ScannedPlugin = AdmittedPlugin | RejectedPlugin;

export interface ScanResult {
  plugins: ScannedPlugin[];
}

export interface RegistryDeps extends ReadPackageOptions {
  store: Pick<PackageStore, "put">;
  /** Folders beyond this number are rejected unread. */
  pluginsMax: number;
}

/** Packages that are read at once: most of the time of one is waiting for the disk, or for a thread that asks it. */
const readsMax = 16;

/**
 * Reads every plugin in `folders`, each of which holds one folder for each plugin; files and folders
 * whose names begin with a dot are passed over. Throws CONFIG_INVALID for a folder that cannot be read.
 */
export async function scanPluginFolders(folders: readonly string[], deps: RegistryDeps): Promise<ScanResult> {
  const found = (await Promise.all(folders.map(listPluginFolders))).flat();
  // However many are read, no more bytes of their files are in memory than one alone may have. What lists the files of
  // each, at most `filesMax` names, is beside that.
  const room = new ReadingRoom(deps.bytesMax);
  const scanned = await concurrently(found.slice(0, deps.pluginsMax), readsMax, async (folder) => {
    using held = new DisposableStack();
    const enter = async (bytes: number) => void held.use(await room.enter(bytes));
    return await readOne(folder, { ...deps, enter });
  });
  const unread = found.slice(deps.pluginsMax).map((folder) => rejectedUnread(folder, deps.pluginsMax));
  const holders = new Map<string, string>();
  const plugins = [...scanned, ...unread].map((plugin) =>
    plugin.kind === "admitted" ? claimId(plugin, holders) : plugin
  );
  return { plugins: withUniqueIds(plugins, holders) };
}

/** Reads one plugin and stores its package if it is admitted. */
export async function readOne(
  folder: string,
  deps: Pick<RegistryDeps, "store" | keyof ReadPackageOptions>,
): Promise<ScannedPlugin> {
  const result = await readPackage(folder, deps);
  if (!result.ok) return rejected(folder, result.error, result);
  const { manifest, digest } = result.package;
  try {
    return {
      kind: "admitted",
      folder,
      manifest,
      digest,
      packageFolder: await deps.store.put(result.package),
    };
  } catch (error) {
    if (!isSystemError(error)) throw error;
    const fault = { path: "", message: `The package cannot be stored: ${error.message}` };
    return rejected(folder, rejection(folder, [fault]), glanceOf(manifest, digest));
  }
}

async function listPluginFolders(folder: string): Promise<string[]> {
  const names: string[] = [];
  try {
    // A link is listed, so that it is rejected with a reason in place of being missing without one.
    for await (const { name, isDirectory, isSymlink } of Deno.readDir(folder)) {
      if (!name.startsWith(".") && (isDirectory || isSymlink)) names.push(name);
    }
  } catch (error) {
    if (!isSystemError(error)) throw error;
    throw new ProblemError("CONFIG_INVALID", `Cannot read plugins folder "${folder}": ${error.message}`, {
      cause: error,
    });
  }
  return names.sort().map((name) => `${folder.replace(/\/+$/, "")}/${name}`);
}

function claimId(plugin: AdmittedPlugin, holders: Map<string, string>): ScannedPlugin {
  const { folder, manifest, digest } = plugin;
  const { id } = manifest;
  const holder = holders.get(id);
  if (holder === undefined) {
    holders.set(id, folder);
    return plugin;
  }
  const message = `The id "${id}" is already that of "${holder}"`;
  return rejected(folder, rejection(folder, [{ path: "/id", message }]), glanceOf(manifest, digest));
}

/** Gives rejected plugins ids that nobody has: their own, their folder's, their folder's with a number. */
function withUniqueIds(plugins: ScannedPlugin[], holders: ReadonlyMap<string, string>): ScannedPlugin[] {
  const taken = new Set(holders.keys());
  return plugins.map((plugin) => {
    if (plugin.kind === "admitted") return plugin;
    const fromFolder = idFromFolder(plugin.folder);
    let id = taken.has(plugin.id) ? fromFolder : plugin.id;
    for (let number = 2; taken.has(id); number++) id = `${fromFolder.slice(0, 56)}-${number}`;
    taken.add(id);
    return { ...plugin, id };
  });
}

type Glance = Partial<Omit<PackageGlance, "id">> & { readonly id?: string | undefined };

function rejected(
  folder: string,
  error: ProblemError,
  { id = idFromFolder(folder), isCritical = false, digest, name }: Glance = {},
): RejectedPlugin {
  return { kind: "rejected", folder, id, isCritical, error, digest, name };
}

/** Of a package that could be read, and is rejected for another reason. */
function glanceOf({ id, version, critical }: Manifest, digest: string): PackageGlance {
  return { id, isCritical: critical, digest, name: `${id}@${version}` };
}

function rejectedUnread(folder: string, pluginsMax: number): RejectedPlugin {
  const message = `There are more than ${pluginsMax} plugins; raise "pluginsMax" in airlock.jsonc to read it`;
  return rejected(folder, rejection(folder, [{ path: "", message }]));
}

/** A valid id that resembles the folder's name. */
function idFromFolder(folder: string): string {
  const name = folder.split("/").at(-1) ?? "";
  const id = name.normalize("NFKD").toLowerCase().replace(/[^a-z0-9]+/g, "-").slice(0, 64);
  const trimmed = id.replace(/^-+|-+$/g, "");
  return pluginIdSchema.safeParse(trimmed).success ? trimmed : "unnamed";
}

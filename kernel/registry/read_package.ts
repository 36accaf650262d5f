/**
 * Reading a package: from a folder that anybody may have written to bytes that are admitted or rejected.
 *
 * Everything wrong is found in one go, so that an author needs one round to put it right. What is
 * admitted exists only in memory afterwards: the folder is never looked at again.
 *
 * Not part of a package, and neither read nor run: `SHA256SUMS` and `SHA256SUMS.sig`, which speak of the
 * package, and the folders of version control, so that a checkout is a package. `node_modules` rejects.
 *
 * Needs read permission for the folder.
 *
 * @module
 */
import { greaterThanRange, parse as parseVersion, satisfies, tryParseRange } from "@std/semver";
import { parseJsoncTree, valueOf } from "../../schemas/jsonc_tree.ts";
import { type Manifest, manifestSchema, versionRangeSchema } from "../../schemas/manifest.ts";
import { nearestName } from "../../schemas/nearest_name.ts";
import { documentLengthMax, parseDocument } from "../../schemas/parse_document.ts";
import { pluginIdSchema } from "../../schemas/plugin_id.ts";
import { type Fault, ProblemError } from "../../schemas/problem.ts";
import { faultsOfRequest } from "../trust/grants.ts";
import { packageDigestOf } from "../trust/package_digest.ts";
import { isSystemError, listPackage, type PackageLimits, readListedFile } from "./package_files.ts";
import { faultsOfSchema } from "./schema_shape.ts";

export interface PackageFile {
  /** Relative to the package, with forward slashes. */
  path: string;
  bytes: Uint8Array;
  /** Lower-case hex. */
  sha256: string;
}

export interface ReadPackage {
  manifest: Manifest;
  files: PackageFile[];
  /** Lower-case hex; see `kernel/trust/package_digest.ts`. */
  digest: string;
}

export interface ReadPackageOptions extends PackageLimits {
  /** The version of Airlock that asks. */
  hostVersion: string;
  /** Resolves when so many bytes may be read into memory; the caller knows when they are not needed any more. */
  enter?(bytes: number): Promise<void>;
}

/** What is known of a package that is not admitted. */
export interface PackageGlance {
  /** The manifest's id, if it has a valid one. */
  id: string | undefined;
  /** The manifest says so, where that much can be read. */
  isCritical: boolean;
  /** Where all of the package could be read. */
  digest: string | undefined;
  /** `id@version`, where the manifest could be read. */
  name: string | undefined;
}

export type ReadPackageResult =
  | { ok: true; package: ReadPackage }
  | PackageGlance & {
    ok: false;
    /** PLUGIN_REJECTED, with every fault. */
    error: ProblemError;
  };

export const manifestPath = "plugin.jsonc";

const faultCharsMax = 1_024;

const notPackaged = new Set(["SHA256SUMS", "SHA256SUMS.sig", ".git", ".hg", ".jj", ".svn"]);

/** Reads and judges the package in `folder`. Rejects only for a bug. */
export async function readPackage(folder: string, options: ReadPackageOptions): Promise<ReadPackageResult> {
  const { files, paths, faults } = await readFiles(folder, options);
  if (paths === undefined) {
    const unread = { id: undefined, isCritical: false, digest: undefined, name: undefined };
    return { ok: false, ...unread, error: rejection(folder, faults) };
  }
  const digest = faults.length === 0 ? packageDigestOf(files) : undefined;
  const { manifest, id, isCritical, faults: judged } = judgeManifest(files, paths, options.hostVersion);
  const all = [...judged, ...faults];
  if (manifest === undefined || digest === undefined || all.length > 0) {
    const name = manifest === undefined ? undefined : `${manifest.id}@${manifest.version}`;
    return { ok: false, id, isCritical, digest, name, error: rejection(folder, all) };
  }
  return { ok: true, package: { manifest, files, digest } };
}

/** The error of a folder that is not admitted. */
export function rejection(folder: string, faults: Fault[]): ProblemError {
  const [first] = faults;
  const place = first.line === undefined ? "" : ` (${manifestPath}, line ${first.line})`;
  const subject = first.path !== "" && first.message.startsWith("must ") ? `${first.path} ` : "";
  const more = faults.length > 1 ? `, and ${faults.length - 1} more` : "";
  const message = `Cannot admit "${folder}": ${subject}${first.message}${place}${more}`;
  const errors = faults.map((fault) => ({ ...fault, path: clip(fault.path), message: clip(fault.message) }));
  return new ProblemError("PLUGIN_REJECTED", clip(message), { errors });
}

/** What a manifest spells goes into answers and lines of the log: a part of it says enough. */
function clip(text: string): string {
  return text.length <= faultCharsMax ? text : `${text.slice(0, faultCharsMax - 1).toWellFormed()}…`;
}

interface FilesRead {
  files: PackageFile[];
  /** Undefined if the folder could not be listed to its end. */
  paths: ReadonlySet<string> | undefined;
  faults: Fault[];
}

async function readFiles(folder: string, options: ReadPackageOptions): Promise<FilesRead> {
  const files: PackageFile[] = [];
  const faults: Fault[] = [];
  try {
    const listing = await listPackage(folder, options, (name) => notPackaged.has(name));
    for (const message of listing.faults) faults.push({ path: "", message });
    if (!listing.complete) return { files, paths: undefined, faults };
    await options.enter?.(listing.files.reduce((bytes, { stats }) => bytes + Number(stats.size), 0));
    for (const file of listing.files) {
      // A package that is rejected anyway is read no further than its manifest, for the faults in it.
      if (faults.length > 0 && file.path !== manifestPath) continue;
      const result = await readListedFile(listing.root, file);
      if (result.ok) files.push({ path: file.path, bytes: result.bytes, sha256: result.sha256 });
      else faults.push({ path: "", message: result.message });
    }
    return { files, paths: new Set(listing.files.map(({ path }) => path)), faults };
  } catch (error) {
    if (!isSystemError(error)) throw error;
    faults.push({ path: "", message: `The folder cannot be read: ${error.message}` });
    return { files, paths: undefined, faults };
  }
}

interface Judgement {
  id: string | undefined;
  isCritical: boolean;
  manifest: Manifest | undefined;
  faults: Fault[];
}

function judgeManifest(
  files: readonly PackageFile[],
  paths: ReadonlySet<string>,
  hostVersion: string,
): Judgement {
  const file = files.find(({ path }) => path === manifestPath);
  if (file === undefined) {
    // It is there and could not be read: that fault has been found already.
    if (paths.has(manifestPath)) return { id: undefined, isCritical: false, manifest: undefined, faults: [] };
    const nearest = nearestName(manifestPath, paths);
    const guess = nearest === undefined ? "" : `; is "${nearest}" meant to be it?`;
    const message = `There is no manifest, ${manifestPath}${guess}`;
    return { id: undefined, isCritical: false, manifest: undefined, faults: [{ path: "", message }] };
  }
  const text = decodeManifest(file.bytes);
  if (text === undefined) {
    const message = `The manifest, ${manifestPath}, must be UTF-8 and at most ${documentLengthMax} bytes`;
    return { id: undefined, isCritical: false, manifest: undefined, faults: [{ path: "", message }] };
  }
  const document = parseDocument(manifestSchema, text, { what: `manifest "${manifestPath}"` });
  if (!document.ok) {
    const { id, isCritical, airlock } = glanceAtManifest(text);
    const hostFault = airlock === undefined ? undefined : faultOfHost(airlock, hostVersion);
    // A manifest for another version of Airlock may well have keys that this one does not know.
    const faults = hostFault === undefined ? [] : [{ path: "/airlock", message: hostFault }];
    return { id, isCritical, manifest: undefined, faults: [...faults, ...document.faults] };
  }
  const { value: manifest, faultAt } = document;
  const faults = faultsOfManifest(manifest, paths).map(({ path, message }) => faultAt(path, message));
  const hostFault = faultOfHost(manifest.airlock, hostVersion);
  if (hostFault !== undefined) faults.unshift(faultAt(["airlock"], hostFault));
  return { id: manifest.id, isCritical: manifest.critical, manifest, faults };
}

function decodeManifest(bytes: Uint8Array): string | undefined {
  if (bytes.length > documentLengthMax) return undefined;
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (error) {
    if (error instanceof TypeError) return undefined; // what a fatal decoder throws for invalid bytes
    throw error;
  }
}

/** The keys that matter even when the rest is wrong. */
function glanceAtManifest(
  text: string,
): { id: string | undefined; isCritical: boolean; airlock: string | undefined } {
  const { root, sound } = parseJsoncTree(text);
  const value = root !== undefined && sound ? valueOf(root) : null;
  const fields = typeof value === "object" && value !== null && !Array.isArray(value) ? value : {};
  const id = pluginIdSchema.safeParse(fields.id);
  return {
    id: id.success ? id.data : undefined,
    isCritical: fields.critical === true,
    airlock: versionRangeSchema.safeParse(fields.airlock).data,
  };
}

/** Why this version of Airlock does not run the plugin; undefined if it does, or the range is no range. */
function faultOfHost(airlock: string, hostVersion: string): string | undefined {
  const range = tryParseRange(airlock);
  const host = parseVersion(hostVersion);
  if (range === undefined || satisfies(host, range)) return undefined;
  const remedy = greaterThanRange(host, range)
    ? "upgrade the plugin to a version made for it"
    : "upgrade Airlock";
  return `The plugin runs on Airlock ${airlock}, and this is ${hostVersion}: ${remedy}`;
}

interface ManifestFault {
  path: PropertyKey[];
  message: string;
}

/** What the manifest's own schema cannot see. */
function faultsOfManifest(manifest: Manifest, paths: ReadonlySet<string>): ManifestFault[] {
  const faults: ManifestFault[] = [];
  const checkFile = (path: PropertyKey[], file: string | undefined) => {
    if (file === undefined || paths.has(file)) return;
    const nearest = nearestName(file, paths);
    const guess = nearest === undefined ? "" : `: did you mean "${nearest}"?`;
    faults.push({ path, message: `must be a file of the package${guess}` });
  };
  const checkSchema = (path: PropertyKey[], schema: unknown) => {
    if (schema === undefined) return;
    for (const fault of faultsOfSchema(schema)) {
      faults.push({ path: [...path, ...fault.path], message: fault.message });
    }
  };
  checkFile(["entrypoint"], manifest.entrypoint);
  checkFile(["changelog"], manifest.changelog);
  checkFile(["config", "migrations"], manifest.config?.migrations);
  for (const [name, action] of Object.entries(manifest.actions)) {
    checkSchema(["actions", name, "input"], action.input);
    checkSchema(["actions", name, "output"], action.output);
  }
  checkSchema(["config", "schema"], manifest.config?.schema);
  for (const { path, message } of faultsOfRequest(manifest.capabilities)) {
    const [, permission, index] = path.split("/");
    faults.push({ path: ["capabilities", permission, Number(index)], message });
  }
  return faults;
}

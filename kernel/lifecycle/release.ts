/**
 * A release is an admitted package with what is in force for it: grants, limits, tier.
 *
 * Pure.
 *
 * @module
 */
import {
  type Grants,
  type Isolation,
  isolationTiers,
  type OperatorGrants,
} from "../../schemas/capabilities.ts";
import { type CellSetup, tokenOverheadChars } from "../../schemas/cell_protocol.ts";
import type { Config } from "../../schemas/config.ts";
import { capLimits, type Limits } from "../../schemas/limits.ts";
import type { Manifest } from "../../schemas/manifest.ts";
import { ProblemError } from "../../schemas/problem.ts";
import type { CellDescription } from "../../schemas/warden_protocol.ts";
import type { AdmittedPlugin } from "../registry/registry.ts";
import { computeGrants, grantsNeedSealed, requestedOf } from "../trust/grants.ts";

export interface Release {
  readonly manifest: Manifest;
  readonly digest: string;
  readonly packageDir: string;
  readonly dataDir: string;
  readonly grants: Grants;
  readonly limits: Limits;
  readonly isolation: Isolation;
}

export interface ReleaseTerms {
  readonly config: Config;
  /** The strongest tier of this machine that the operator allows. */
  readonly tier: Isolation;
  /** Airlock's data folder. */
  readonly dataDir: string;
  /** Folders that no grant may reach. */
  readonly forbidden: readonly string[];
}

/** Room in a frame beside the output. */
const envelopeBytesMax = 65_541;
const megabyte = 1_048_576;
/** All grants of a plugin stand in one record of the ledger. A character takes up to six bytes there. */
const grantsCharsMax = 10_000;

/** Throws GRANT_REFUSED when the operator's grants cannot be given. */
export function makeRelease(
  { manifest, digest, packageFolder }: AdmittedPlugin,
  operator: OperatorGrants | undefined,
  { config, tier, dataDir, forbidden }: ReleaseTerms,
): Release {
  const dataFolder = `${dataDir}/plugins/${manifest.id}`;
  const grants = computeGrants({
    requested: requestedOf(manifest),
    operator,
    packageFolder,
    dataFolder,
    forbidden,
  });
  checkNetwork(manifest.id, grants, config);
  const grantsChars = JSON.stringify(grants).length;
  if (grantsChars > grantsCharsMax) {
    const state = `they have ${grantsChars} characters, and at most ${grantsCharsMax} fit into the ledger`;
    throw new ProblemError("GRANT_REFUSED", `Cannot grant what plugin "${manifest.id}" would get: ${state}`);
  }
  return {
    manifest,
    digest,
    packageDir: packageFolder,
    dataDir: dataFolder,
    grants,
    limits: capLimits(manifest.limits, config.limits),
    isolation: isolationOf(manifest.id, { config, tier }),
  };
}

/** Deno checks what its own code connects to. A program, or a library, has the network that it is in. */
function checkNetwork(id: string, grants: Grants, { cells }: Config): void {
  if (cells.programsOnNetwork || !grantsNeedSealed(grants) || grants.net.length === 0) return;
  const what = grants.run.length > 0 ? "run" : "ffi";
  throw new ProblemError(
    "GRANT_REFUSED",
    `Cannot grant plugin "${id}" ${what} beside net: its programs would reach every address that this machine ` +
      'does. Grant one of them, or set "cells": { "programsOnNetwork": true }',
  );
}

/** The tier that a plugin's next cell gets. */
export function isolationOf(id: string, { config, tier }: Pick<ReleaseTerms, "config" | "tier">): Isolation {
  return config.cells.lower.includes(id) ? "process" : tier;
}

/** Throws ISOLATION_REQUIRED when the release cannot run in the tier it would get. */
export function checkIsolation({ manifest, grants, isolation }: Release): void {
  const wanted = grantsNeedSealed(grants) ? "sealed" : manifest.isolation;
  if (isolationTiers.indexOf(isolation) >= isolationTiers.indexOf(wanted)) return;
  throw new ProblemError(
    "ISOLATION_REQUIRED",
    `Cannot run plugin "${manifest.id}" in the ${isolation} tier: it needs ${wanted}`,
  );
}

/** What the warden and the cell must know to run a release. */
export function cellRequestOf(
  { manifest, packageDir, dataDir, grants, limits, isolation }: Release,
  { cells }: Config,
): { description: Omit<CellDescription, "cell" | "token">; setup: CellSetup } {
  const { id, version, entrypoint, actions } = manifest;
  return {
    description: { tier: isolation, packageDir, dataDir, grants, limits },
    setup: {
      plugin: { id, version },
      entrypoint,
      packageDir,
      dataDir,
      config: {},
      actions: Object.fromEntries(
        Object.entries(actions).map(([name, { input, output }]) => [name, { input, output }]),
      ),
      outputBytesMax: Math.min(limits.outputMb * megabyte, cells.frameBytesMax - envelopeBytesMax),
      streamWindowChars: cells.streamWindowChars,
      tokenOverheadChars,
    },
  };
}

/** Grants as the ledger lists them: what is empty is left out. */
export function grantedScopes(grants: Grants): Record<string, string[]> {
  const { eval: evaluates, ...lists } = grants;
  return Object.fromEntries([
    ...Object.entries(lists).filter(([, scopes]) => scopes.length > 0),
    ...(evaluates ? [["eval", ["yes"]]] : []),
  ]);
}

/**
 * The report of a verification: what was found, what was checked for it, and what it does not show.
 *
 * Pure.
 *
 * @module
 */
import type { VerifiedBundle } from "../kernel/ledger/verify/verify_bundle.ts";
import type { Verified } from "../kernel/ledger/verify/verify_folder.ts";

export type Finding =
  | { readonly isVerified: true; readonly kind: "ledger"; readonly result: Verified }
  | { readonly isVerified: true; readonly kind: "bundle"; readonly result: VerifiedBundle }
  | {
    readonly isVerified: false;
    readonly reason: string;
    /** One of the two, where an entry can be named: the first bad one, or one before it. */
    readonly firstBadEntry?: number | undefined;
    readonly changedFrom?: number | undefined;
  };

/** One JSON object, in one line. */
export function formatFindingJson(finding: Finding): string {
  if (!finding.isVerified) {
    const { reason, firstBadEntry = null, changedFrom = null } = finding;
    return JSON.stringify({ verified: false, firstBadEntry, changedFrom, reason });
  }
  const { kind, result } = finding;
  return JSON.stringify({
    ...{ verified: true, firstBadEntry: null, changedFrom: null, reason: null },
    ...{ kind, ...result },
  });
}

export function formatFinding(finding: Finding): string[] {
  if (!finding.isVerified) {
    const { reason, firstBadEntry, changedFrom } = finding;
    return [
      "NOT VERIFIED",
      ...(firstBadEntry === undefined ? [] : [`first bad entry: ${firstBadEntry}`]),
      ...(changedFrom === undefined ? [] : [`changed: entry ${changedFrom} or one after it`]),
      `reason: ${reason}`,
    ];
  }
  return finding.kind === "ledger" ? formatLedger(finding.result) : formatBundle(finding.result);
}

function formatLedger(result: Verified): string[] {
  const { size, keys, checkpoints, above, anchor } = result;
  const isAlone = above.entries === 0 && above.bytes === 0;
  return [
    `verified: ${size} entries of ${result.origin}`,
    ...formatSignature(result),
    ...keys.map(({ key, from, until }) => `key: ${key}, ${formatSpan(from, until)}`),
    "checked: every entry against the one before it, all of them against the signed root hash, " +
    `${checkpoints} published checkpoints` +
    (anchor === null ? "" : `, the anchor of ${anchor.size} entries`),
    ...(isAlone ? [] : [
      `not covered by the checkpoint: ${above.entries} whole entries above it, and ${above.bytes} bytes after them`,
    ]),
    ...formatLimits(anchor, "this ledger"),
  ];
}

function formatBundle(result: VerifiedBundle): string[] {
  const { from, to, size, anchor } = result;
  return [
    `verified: entries ${from} to ${to - 1} of ${result.origin}, ${size} entries when it was signed`,
    ...formatSignature(result),
    "checked: each entry of the bundle against the one before it, all of them against the signed root hash" +
    (anchor === null ? "" : `, the anchor of ${anchor.size} entries`),
    ...formatLimits(anchor, "the ledger that it was taken from"),
  ];
}

function formatSignature(result: Verified | VerifiedBundle): string[] {
  const { rootHash, signedBy, firstTime, lastTime } = result;
  return [
    `root hash: ${rootHash}`,
    ...signedBy.map((key) => `signed by: ${key}`),
    ...(firstTime === null
      ? []
      : [`times: ${firstTime} to ${lastTime}, by the clock of the machine that wrote them`]),
  ];
}

/** When a key signs, in words: `from` is the entry that names it, `until` the one that retires it. */
export function formatSpan(from: number, until: number | null): string {
  return until === null ? `signs from entry ${from} on` : `signed from entry ${from} to ${until}`;
}

function formatLimits(anchor: { readonly size: number } | null, subject: string): string[] {
  return [
    anchor === null
      ? `not shown, without --anchor: that nobody cut the end off ${subject}, back to an older checkpoint, and that ` +
        "the holder of its key did not write it anew"
      : `not shown: that after entry ${
        anchor.size - 1
      }, the last one of the anchor, nothing was cut off or, by the ` +
        "holder of the key, written anew",
    "not shown: that everything that happened was recorded, or that the times are true",
  ];
}

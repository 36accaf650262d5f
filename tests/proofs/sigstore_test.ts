/**
 * `@sigstore/verify`, with which npm checks where its packages come from, accepts our checkpoints and inclusion
 * proofs and refuses what was changed.
 *
 * It takes a log's key from its trust material by the first four bytes of the log's id. Those are the key id of
 * C2SP when the id is `SHA-256(name ‖ 0x0A ‖ 0x01 ‖ public key)`, as of the logs of Rekor v2.
 *
 * @module
 */
import { equal, throws } from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createHash, createPublicKey } from "node:crypto";
import { verifyTLogInclusion } from "@sigstore/verify/dist/tlog/index.js";
import {
  changedAt,
  changedLine,
  checkpointOf,
  otherKeyOf,
  partsOfKey,
  type Proved,
  someOf,
  Stranger,
} from "./stranger.ts";

type Authority = Parameters<typeof verifyTLogInclusion>[1][number];

/** A proof as it stands in a bundle of Sigstore's. */
interface Parts {
  readonly keys: readonly string[];
  readonly index: string;
  readonly line: Uint8Array;
  readonly hashes: readonly string[];
  readonly checkpoint: string;
}

function authorityOf(verifierKey: string): Authority {
  const { name, key } = partsOfKey(verifierKey);
  const x = key.subarray(1).toBase64({ alphabet: "base64url", omitPadding: true });
  return {
    logID: createHash("sha256").update(`${name}\n`).update(key).digest(),
    baseURL: name,
    publicKey: createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" }),
    validFor: { start: new Date(0), end: new Date(8.64e15) },
  };
}

/** Throws unless Sigstore takes it. */
function verify({ keys, index, line, hashes, checkpoint }: Parts): void {
  for (const authority of keys.map(authorityOf)) {
    verifyTLogInclusion({
      logIndex: index,
      logId: { keyId: authority.logID },
      kindVersion: { kind: "", version: "" },
      integratedTime: "0",
      inclusionPromise: undefined,
      inclusionProof: {
        logIndex: index,
        rootHash: Buffer.alloc(0), // it goes by the checkpoint's
        treeSize: "0",
        hashes: hashes.map((hash) => Buffer.from(hash, "base64")),
        checkpoint: { envelope: checkpoint },
      },
      canonicalizedBody: Buffer.from(line),
    }, [authority]);
  }
}

const partsOf = (keys: readonly string[], { entry, json }: Proved): Parts => ({
  keys,
  index: String(json.index),
  line: new TextEncoder().encode(entry.line),
  hashes: json.hashes,
  checkpoint: json.checkpoint,
});

const unproved = "calculated root hash does not match inclusion proof";
const forged = "invalid checkpoint signature";
const miscounted =
  /^(?:calculated root hash does not match inclusion proof|invalid hash count|invalid index: -?\d+)$/;

Deno.test("an inclusion proof is accepted by @sigstore/verify, and refused with anything changed", async () => {
  await using stranger = await Stranger.start();
  const early = await stranger.call(8);
  const keys = await stranger.keys();
  await stranger.call(8);
  const proved: Proved[] = [];
  for (const entry of someOf(await stranger.entries())) proved.push(await stranger.prove(entry));
  for (const proof of proved) {
    const { index } = proof.entry;
    const parts = partsOf(keys, proof);
    const { line, hashes, checkpoint } = parts;
    verify(parts);
    const refused: [what: string, changed: Partial<Parts>, message: string | RegExp][] = [
      ["record", { line: changedAt(line, line.length >> 1) }, unproved],
      ["newline", { line: new Uint8Array([...line, 10]) }, unproved],
      ["a hash less", { hashes: hashes.slice(1) }, "invalid hash count"],
      ["a hash more", { hashes: [...hashes, hashes[0]!] }, "invalid hash count"],
      ["index after", { index: String(index + 1) }, miscounted],
      ["index before", { index: String(index - 1) }, miscounted],
      [
        "tree size",
        { checkpoint: changedLine(checkpoint, 1) },
        /^invalid checkpoint (?:log size|signature)$/,
      ],
      ["root hash", { checkpoint: changedLine(checkpoint, 2) }, forged],
      ["origin", { checkpoint: changedLine(checkpoint, 0) }, forged],
      ["signature", { checkpoint: changedLine(checkpoint, 4) }, forged],
      ["no signature", { checkpoint: checkpoint.slice(0, checkpoint.indexOf("—")) }, /^no signatures found/],
      ["other size", { checkpoint: early }, miscounted],
      ["other key", { keys: [otherKeyOf(keys[0]!)] }, forged],
      ...hashes.map((hash, at): [string, Partial<Parts>, string] => [
        `hash ${at}`,
        { hashes: hashes.with(at, changedLine(hash, 0)) },
        unproved,
      ]),
    ];
    for (const [what, changed, message] of refused) {
      throws(
        () => verify({ ...parts, ...changed }),
        { name: "VerificationError", message },
        `entry ${index}: ${what}`,
      );
    }
  }
});

Deno.test("a checkpoint of two keys is accepted by @sigstore/verify with each of them", async () => {
  await using stranger = await Stranger.start();
  await stranger.call(8);
  const [old = ""] = await stranger.keys();
  const rotated = await stranger.airlock.request<{ key: string }>("POST", "/v1/ledger/key/rotate");
  equal(rotated.status, 200);
  const { key: fresh } = rotated.body;
  const [entry] = await stranger.entries();
  const both = await stranger.prove(entry!);
  equal(checkpointOf(rotated).split("\n").length, both.json.checkpoint.split("\n").length);
  for (const key of [old, fresh]) verify(partsOf([key], both));
  equal((await stranger.airlock.request("POST", "/v1/ledger/key/retire")).status, 200);
  const one = await stranger.prove(entry!);
  verify(partsOf([fresh], one));
  throws(() => verify(partsOf([old], one)), { name: "VerificationError", message: forged });
});

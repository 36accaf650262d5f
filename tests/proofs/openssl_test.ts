/**
 * What needs no library at all: `openssl` verifies the signature of a served checkpoint, and coreutils follow the
 * chain from line to line.
 *
 * @module
 */
import { equal, match, notEqual, ok } from "node:assert/strict";
import { temporaryFolder } from "../support/airlock.ts";
import { type Ended, hasProgram, runToEnd } from "../support/processes.ts";
import { changedAt, changedLine, checkpointOf, otherKeyOf, partsOfKey, Stranger } from "./stranger.ts";

/** What stands before the 32 bytes of an Ed25519 key in a PEM file (RFC 8410). */
const ed25519Prefix = Uint8Array.fromHex("302a300506032b6570032100");

/** `openssl pkeyutl -verify` of the `signature`th signature of `note`. */
async function runOpenssl(verifierKey: string, note: string, signature = 0): Promise<Ended> {
  await using folder = await temporaryFolder();
  const key = partsOfKey(verifierKey).key.subarray(1);
  const der = new Uint8Array([...ed25519Prefix, ...key]).toBase64();
  const border = note.indexOf("\n\n");
  const line = note.slice(border + 2).split("\n")[signature]!;
  const signed = Uint8Array.fromBase64(line.split(" ")[2]!);
  await Deno.writeTextFile(`${folder.path}/text`, note.slice(0, border + 1));
  await Deno.writeFile(`${folder.path}/signature`, signed.subarray(4));
  await Deno.writeTextFile(
    `${folder.path}/key.pem`,
    `-----BEGIN PUBLIC KEY-----\n${der}\n-----END PUBLIC KEY-----\n`,
  );
  const files = ["-inkey", "key.pem", "-in", "text", "-sigfile", "signature"];
  return await runToEnd(["openssl", "pkeyutl", "-verify", "-pubin", "-rawin", ...files], {
    cwd: folder.path,
  });
}

async function accept(verifierKey: string, note: string, signature?: number): Promise<void> {
  const { code, stdout, stderr } = await runOpenssl(verifierKey, note, signature);
  equal(code, 0, stderr);
  match(stdout, /Signature Verified Successfully/);
}

async function refuse(verifierKey: string, note: string, signature?: number): Promise<void> {
  const { code, stdout, stderr } = await runOpenssl(verifierKey, note, signature);
  notEqual(code, 0);
  match(stdout + stderr, /Signature Verification Failure/);
}

Deno.test({
  name: "openssl verifies the signature of a served checkpoint, and refuses it with anything changed",
  ignore: !hasProgram("openssl"),
  async fn() {
    await using stranger = await Stranger.start();
    const notes = [
      await stranger.call(2),
      await stranger.checkpoint(),
      await stranger.text("/log/checkpoint"),
    ];
    const [key = ""] = await stranger.keys();
    for (const note of notes) {
      await accept(key, note);
      for (const line of [0, 1, 2, 4]) await refuse(key, changedLine(note, line));
      await refuse(otherKeyOf(key), note);
    }
    const rotated = await stranger.airlock.request<{ key: string }>("POST", "/v1/ledger/key/rotate");
    const note = checkpointOf(rotated);
    await accept(key, note, 0);
    await accept(rotated.body.key, note, 1);
    await refuse(key, note, 1);
  },
});

/** Runs `script` with `input` in the file that is its first argument; the first word of what it prints. */
async function sh(script: string, input: string | Uint8Array): Promise<string> {
  await using folder = await temporaryFolder();
  const path = `${folder.path}/line`;
  await Deno.writeFile(path, typeof input === "string" ? new TextEncoder().encode(input) : input);
  const { code, stdout, stderr } = await runToEnd(["sh", "-c", script, "sh", path]);
  equal(code, 0, stderr);
  return stdout.split(" ")[0]!;
}

Deno.test({
  name: "sha256sum alone follows the chain: the hash of a line is its leaf hash, and stands in the next line",
  ignore: !hasProgram("sha256sum"),
  async fn() {
    await using stranger = await Stranger.start();
    await stranger.call(2);
    const entries = await stranger.entries();
    ok(entries.length > 8);
    const [origin = ""] = (await stranger.checkpoint()).split("\n");
    let prev = await sh('sha256sum "$1"', origin);
    for (const { line, leafHash } of entries.slice(0, 8)) {
      equal(JSON.parse(line).prev, prev);
      prev = await sh(`printf '\\0' | cat - "$1" | sha256sum`, line);
      equal(prev, leafHash);
      const bytes = new TextEncoder().encode(line);
      notEqual(await sh(`printf '\\0' | cat - "$1" | sha256sum`, changedAt(bytes, bytes.length >> 1)), prev);
    }
  },
});

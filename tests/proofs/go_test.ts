/**
 * Go's own `golang.org/x/mod/sumdb/note` and `tlog`, asked by `check.go`, accept what Airlock serves and refuse
 * what was changed.
 *
 * @module
 */
import { deepEqual, equal, match, ok } from "node:assert/strict";
import { dirname } from "node:path";
import { temporaryFolder } from "../support/airlock.ts";
import { hasProgram } from "../support/processes.ts";
import {
  changedAt,
  changedLine,
  checkpointOf,
  otherKeyOf,
  type Proved,
  sizeOf,
  someOf,
  Stranger,
} from "./stranger.ts";

/** Where Debian's golang-golang-x-mod-dev puts packages. */
const goPath = "/usr/share/gocode";
const ignore = !hasProgram("go") || !isFolder(`${goPath}/src/golang.org/x/mod/sumdb/tlog`);

/** Newer versions of Go come without their library built. */
const buildTimeoutMs = 180_000;

interface Claim {
  readonly kind: "checkpoint" | "inclusion" | "consistency" | "tiles";
  readonly keys: readonly string[];
  readonly checkpoint?: string;
  readonly older?: string;
  readonly line?: string | Uint8Array;
  readonly proof?: string | Uint8Array;
  readonly hashes?: readonly string[];
  readonly folder?: string;
}

/** `check.go`, built into a folder of its own, without a network. */
class Go implements AsyncDisposable {
  private constructor(readonly folder: { readonly path: string } & AsyncDisposable) {}

  static async build(): Promise<Go> {
    const folder = await temporaryFolder();
    const { success, stderr } = await new Deno.Command("go", {
      args: ["build", "-o", `${folder.path}/check`, "check.go"],
      cwd: dirname(new URL(import.meta.url).pathname),
      env: {
        GO111MODULE: "off",
        GOPATH: goPath,
        GOFLAGS: "",
        GOTOOLCHAIN: "local",
        GOCACHE: `${folder.path}/cache`,
        CGO_ENABLED: "0",
      },
      stdin: "null",
      stdout: "null",
      stderr: "piped",
      signal: AbortSignal.timeout(buildTimeoutMs),
    }).output();
    ok(success, new TextDecoder().decode(stderr));
    return new Go(folder);
  }

  /** Why each claim does not hold; "" where it does. */
  async check(claims: readonly Claim[]): Promise<string[]> {
    const child = new Deno.Command(`${this.folder.path}/check`, {
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    const base64 = (text: string | Uint8Array = "") =>
      (typeof text === "string" ? new TextEncoder().encode(text) : text).toBase64();
    const input = claims.map(({ checkpoint, older, line, proof, ...rest }) => ({
      ...rest,
      checkpoint: base64(checkpoint),
      older: base64(older),
      line: base64(line),
      proof: base64(proof),
    }));
    const written = new Blob([JSON.stringify(input)]).stream().pipeTo(child.stdin);
    const [{ code, stdout }] = await Promise.all([child.output(), written]);
    equal(code, 0);
    const answers = JSON.parse(new TextDecoder().decode(stdout)) as string[];
    equal(answers.length, claims.length);
    return answers;
  }

  async accept(claims: readonly Claim[]): Promise<void> {
    ok(claims.length > 0);
    deepEqual(await this.check(claims), claims.map(() => ""));
  }

  /** `reason` is what Go says: it must be refused for what was changed in it. */
  async refuse(claims: readonly (readonly [what: string, claim: Claim, reason: RegExp])[]): Promise<void> {
    ok(claims.length > 0);
    const answers = await this.check(claims.map(([, claim]) => claim));
    claims.forEach(([what, , reason], index) => match(answers[index]!, reason, what));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.folder[Symbol.asyncDispose]();
  }
}

let go: Go;
Deno.test.beforeAll(async () => {
  if (!ignore) go = await Go.build();
});
Deno.test.afterAll(async () => {
  if (!ignore) await go[Symbol.asyncDispose]();
});

/** What tlog and note say. */
const unproved = /^invalid transparency proof$/;
const forged = /^invalid signature for key airlock-/;
const unsigned = /^note has no verifiable signatures$/;

Deno.test({
  name: "an inclusion proof is accepted by Go's note and tlog, and refused with anything changed",
  ignore,
  async fn() {
    await using stranger = await Stranger.start();
    const early = await stranger.call(8);
    const keys = await stranger.keys();
    const first = await stranger.prove((await stranger.entries())[0]!);
    await stranger.call(8);
    const proved: Proved[] = [];
    for (const entry of someOf(await stranger.entries())) proved.push(await stranger.prove(entry));
    const claim = ({ text, entry }: Proved): Claim => ({
      kind: "inclusion",
      keys,
      proof: text,
      line: entry.line,
    });
    await go.accept(proved.flatMap((proof) => [
      claim(proof),
      { kind: "checkpoint", keys, checkpoint: proof.json.checkpoint },
    ]));
    await go.accept([claim(first)]); // of the smaller log, and still good

    await go.refuse(proved.flatMap((proof) => {
      const { text, entry, json } = proof;
      const [head, checkpoint] = [text.slice(0, text.indexOf("\n\n") + 2), json.checkpoint];
      const other = proved.find(({ entry: { index } }) => index !== entry.index)!;
      const withIndex = (index: number) => text.replace(`index ${entry.index}\n`, `index ${index}\n`);
      const name = `entry ${entry.index}:`;
      const bytes = new TextEncoder().encode(entry.line);
      const refused: [string, Claim, RegExp][] = [
        [`${name} record`, { ...claim(proof), line: changedAt(bytes, bytes.length >> 1) }, unproved],
        [`${name} newline`, { ...claim(proof), line: `${entry.line}\n` }, unproved],
        [`${name} other record`, { ...claim(proof), line: other.entry.line }, unproved],
        [`${name} first hash`, { ...claim(proof), proof: changedLine(text, 2) }, unproved],
        [`${name} index after`, { ...claim(proof), proof: withIndex(entry.index + 1) }, /^(?:invalid|tlog)/],
        [`${name} index before`, { ...claim(proof), proof: withIndex(entry.index - 1) }, /^(?:invalid|tlog)/],
        [`${name} tree size`, { ...claim(proof), proof: `${head}${changedLine(checkpoint, 1)}` }, forged],
        [`${name} root hash`, { ...claim(proof), proof: `${head}${changedLine(checkpoint, 2)}` }, forged],
        [`${name} signature`, { ...claim(proof), proof: `${head}${changedLine(checkpoint, 4)}` }, forged],
        [
          `${name} other size`,
          { ...claim(proof), proof: `${head}${early}` },
          /^(?:invalid tr|tlog: invalid in)/,
        ],
        [`${name} other key`, { ...claim(proof), keys: [otherKeyOf(keys[0]!)] }, unsigned],
        [`${name} no key`, { ...claim(proof), keys: [] }, unsigned],
      ];
      return refused;
    }));
  },
});

Deno.test({
  name: "no byte of a proof or of a checkpoint can be changed without Go's refusal",
  ignore,
  async fn() {
    await using stranger = await Stranger.start();
    await stranger.call(4);
    const keys = await stranger.keys();
    const { text, entry } = await stranger.prove((await stranger.entries())[5]!);
    const bytes = new TextEncoder().encode(text);
    const claims = Array.from(bytes, (_, at): Claim => ({
      kind: "inclusion",
      keys,
      line: entry.line,
      proof: changedAt(bytes, at),
    }));
    const answers = await go.check(claims);
    deepEqual(answers.flatMap((answer, at) => answer === "" ? [at] : []), []);
    ok(answers.length > 300);
  },
});

Deno.test({
  name: "a consistency proof is accepted by Go's tlog, and refused with anything changed",
  ignore,
  async fn() {
    await using stranger = await Stranger.start();
    const notes: string[] = [];
    for (let write = 0; write < 5; write++) notes.push(await stranger.call(write + 1));
    const [keys, entries] = [await stranger.keys(), await stranger.entries()];
    const claims: Claim[] = [];
    for (const [at, older] of notes.entries()) {
      for (const newer of notes.slice(at)) {
        const hashes = await stranger.proveGrowth(older, newer);
        claims.push({ kind: "consistency", keys, older, checkpoint: newer, hashes });
      }
    }
    await go.accept(claims);
    ok(entries.length >= 30 && sizeOf(notes[4]!) > sizeOf(notes[0]!));

    const grown = claims.filter(({ older, checkpoint }) => older !== checkpoint);
    await go.refuse(grown.flatMap((claim) => {
      const { checkpoint = "", older = "", hashes = [] } = claim;
      const name = `${sizeOf(older)} in ${sizeOf(checkpoint)}:`;
      const changed = hashes.map((_, at): [string, Claim, RegExp] => [
        `${name} hash ${at}`,
        { ...claim, hashes: hashes.with(at, changedLine(hashes[at]!, 0)) },
        unproved,
      ]);
      const refused: [string, Claim, RegExp][] = [
        ...changed,
        [`${name} a hash less`, { ...claim, hashes: hashes.slice(1) }, unproved],
        [`${name} a hash more`, { ...claim, hashes: [...hashes, hashes[0]!] }, unproved],
        [`${name} turned round`, { ...claim, older: checkpoint, checkpoint: older }, /^tlog: invalid inputs/],
        [`${name} older root`, { ...claim, older: changedLine(older, 2) }, forged],
        [`${name} newer size`, { ...claim, checkpoint: changedLine(checkpoint, 1) }, forged],
        [`${name} other key`, { ...claim, keys: [otherKeyOf(keys[0]!)] }, unsigned],
      ];
      return refused;
    }));
    const [first, , third, fourth] = notes;
    const hashes = await stranger.proveGrowth(first!, fourth!);
    const base: Claim = { kind: "consistency", keys, older: first!, checkpoint: fourth!, hashes };
    await go.refuse([
      ["of another older size", { ...base, older: third! }, unproved],
      ["of another newer size", { ...base, checkpoint: third! }, unproved],
    ]);
  },
});

Deno.test({
  name: "the tiles of the log are those of its checkpoint and of its entries, read by Go's reader of tiles",
  ignore,
  async fn() {
    await using stranger = await Stranger.start();
    await stranger.call(140); // two entries each: more than one full tile
    const [checkpoint, keys] = [await stranger.text("/log/checkpoint"), await stranger.keys()];
    const size = sizeOf(checkpoint);
    ok(size > 256 && size < 512);
    await using folder = await temporaryFolder();
    const rest = `001.p/${size - 256}`;
    const paths = ["0/000", `0/${rest}`, "1/000.p/1", "entries/000", `entries/${rest}`];
    for (const path of paths) {
      await Deno.mkdir(dirname(`${folder.path}/tile/${path}`), { recursive: true });
      await Deno.writeFile(`${folder.path}/tile/${path}`, await stranger.bytes(`/log/tile/${path}`));
    }
    const claim: Claim = { kind: "tiles", keys, checkpoint, folder: folder.path };
    await go.accept([claim]);

    for (const path of paths) {
      const file = `${folder.path}/tile/${path}`;
      const bytes = await Deno.readFile(file);
      for (const at of [0, bytes.length >> 1, bytes.length - 1]) {
        const changed = bytes.slice();
        changed[at]! ^= 1;
        await Deno.writeFile(file, changed);
        await go.refuse([[
          `${path}, byte ${at}`,
          claim,
          /downloaded inconsistent tile|of its tile|bundle of entries/,
        ]]);
      }
      await Deno.writeFile(file, bytes);
    }
    await go.accept([claim]);
  },
});

Deno.test({
  name: "a checkpoint opens in Go with either key while two sign, and with the new one alone after that",
  ignore,
  async fn() {
    await using stranger = await Stranger.start();
    const before = await stranger.call(2);
    const [old = ""] = await stranger.keys();
    const opens = async (checkpoint: string, ...keys: string[]) =>
      (await go.check([{ kind: "checkpoint", checkpoint, keys }]))[0];

    const rotated = await stranger.airlock.request<{ key: string; ledger: { index: number } }>(
      "POST",
      "/v1/ledger/key/rotate",
    );
    const { key: fresh, ledger: { index } } = rotated.body;
    deepEqual(await stranger.keys(), [fresh, old]);
    for (const checkpoint of [checkpointOf(rotated), await stranger.checkpoint(), await stranger.call(2)]) {
      equal(await opens(checkpoint, old), "");
      equal(await opens(checkpoint, fresh), "");
      equal(await opens(checkpoint, old, fresh), "");
    }
    match(await opens(before, fresh) ?? "", unsigned);

    // Whoever trusts the old key alone learns the new one from the log.
    const proof = await stranger.prove((await stranger.entries())[index]!);
    deepEqual(JSON.parse(proof.entry.line).data, { key: fresh });
    await go.accept([{ kind: "inclusion", keys: [old], proof: proof.text, line: proof.entry.line }]);

    const retired = await stranger.airlock.request("POST", "/v1/ledger/key/retire");
    equal(retired.status, 200, JSON.stringify(retired.body));
    deepEqual(await stranger.keys(), [fresh]);
    const after = await stranger.call(2);
    equal(await opens(after, fresh), "");
    equal(await opens(after, old, fresh), "");
    match(await opens(after, old) ?? "", unsigned);
    const hashes = await stranger.proveGrowth(before, after);
    await go.accept([{ kind: "consistency", keys: [old, fresh], older: before, checkpoint: after, hashes }]);
  },
});

function isFolder(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch {
    return false;
  }
}

import assert from "node:assert/strict";
import { openLedger } from "../ledger.ts";
import { accepted, createDeps, folder, open, options } from "../testing/ledger_support.ts";
import { MemoryDisk } from "../testing/memory_disk.ts";
import { put, refusal, textOf } from "./testing_verifier.ts";

Deno.test("TrustedKeys leads from an old key to the new one, and from none back to one that was before it", async () => {
  const disk = new MemoryDisk();
  const keys: string[] = [];
  {
    await using ledger = await open(disk);
    keys.push(...ledger.verifierKeys);
    keys.push((await ledger.rotateKey("kernel")).key);
    await ledger.append(accepted("both"));
  }
  // Whoever has the old key alone goes on from here, as if it had never been retired.
  const [oldPem] = textOf(disk, `${folder}/signing.key`).split(/(?<=-----END PRIVATE KEY-----\n)/);
  const forged = disk.killProcess();
  put(forged, `${folder}/signing.key`, oldPem);
  {
    await using ledger = await openLedger(options, createDeps(forged).deps);
    assert.deepEqual(ledger.verifierKeys, [keys[0]]);
    await ledger.append(accepted("forged"));
  }
  assert.equal((await refusal(forged, [keys[0]])).message, "verified");
  assert.match(
    (await refusal(forged, [keys[1]])).message,
    /^the checkpoint is signed neither by a key that was given/,
  );
  for (const given of keys) assert.equal((await refusal(disk, [given])).message, "verified");
});

import { equal, rejects } from "node:assert/strict";
import { findLedgerFolder } from "./ledger_folder.ts";
import { UnreadableError } from "./unreadable_error.ts";

Deno.test("findLedgerFolder() takes either folder that people name, and neither when both hold a ledger", async () => {
  const path = await Deno.makeTempDir();
  await rejects(() => findLedgerFolder(path), UnreadableError);
  await Deno.mkdir(`${path}/ledger/log`, { recursive: true });
  for (const named of [path, `${path}/ledger`]) equal(await findLedgerFolder(named), `${path}/ledger`);
  await Deno.mkdir(`${path}/log`);
  await rejects(() => findLedgerFolder(path), /there is one in ".*" too: move one of them away$/);
  await Deno.remove(path, { recursive: true });
});

/**
 * The lock that makes a second writer impossible: an advisory lock of the operating system on the file `lock`
 * of a folder, held for as long as the file stays open. It ends with its process, however that dies, so there
 * is no stale lock to clear away; it excludes a second holder in the same process as well.
 *
 * @module
 */
import { setTimeout as delay } from "node:timers/promises";
import { join } from "node:path";
import { ProblemError } from "../../schemas/problem.ts";
import { fileMode, type LedgerFile, type LedgerFiles } from "./ledger_files.ts";

const pollMs = 25;

/**
 * Locks `folder`; closing the file unlocks it. Waits up to `timeoutMs`, because a predecessor that was killed
 * may still be dying, then throws ProblemError CONFLICT.
 */
export async function lockFolder(files: LedgerFiles, folder: string, timeoutMs: number): Promise<LedgerFile> {
  const file = await files.open(join(folder, "lock"), {
    read: true,
    write: true,
    create: true,
    mode: fileMode,
  });
  try {
    for (let waitedMs = 0; !(await file.tryLock(true)); waitedMs += pollMs) {
      if (waitedMs >= timeoutMs) {
        throw new ProblemError("CONFLICT", `Cannot open ledger "${folder}": another process has it open`);
      }
      await delay(pollMs);
    }
    return file;
  } catch (error) {
    file.close();
    throw error;
  }
}

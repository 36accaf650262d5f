/**
 * The files of a folder that a verifier was pointed at: read and never written, and only what is a file. A FIFO or
 * a device in their place would hold it up for ever.
 *
 * @module
 */
import { denoFiles, type LedgerFiles } from "../ledger_files.ts";

function refuse(): never {
  throw new TypeError("A verifier writes nothing");
}

function checkFile(path: string): void {
  const { isFile, isDirectory } = Deno.statSync(path);
  if (!isFile && !isDirectory) throw new Error(`Cannot read "${path}": it is not a file`);
}

export const readOnlyFiles: LedgerFiles = {
  async open(path) {
    checkFile(path);
    return await denoFiles.open(path, { read: true });
  },
  async readAt(path, offsetBytes, bytesMax, into) {
    checkFile(path);
    return await denoFiles.readAt(path, offsetBytes, bytesMax, into);
  },
  list: (path) => denoFiles.list(path),
  makeFolder: refuse,
  rename: refuse,
  remove: refuse,
};

/**
 * Found folders: each plugin's folder has an entry when it is there for the first time, or with other bytes,
 * whatever becomes of its package then.
 *
 * A package that cannot be read whole has no digest: it is known by what is wrong with it.
 *
 * What a crash leaves: an entry whose folder the store does not know. It is found again at the next start.
 *
 * @module
 */
import type { ScannedPlugin } from "../registry/registry.ts";
import { sha256HexOf } from "../trust/package_digest.ts";
import { nameOfPackage } from "./installed.ts";
import type { SupervisedCell } from "./plugin.ts";
import type { PluginsDeps } from "./plugins_deps.ts";

export class FoundFolders {
  constructor(private readonly deps: Pick<PluginsDeps<SupervisedCell>, "store" | "ledger">) {}

  /** In the ledger when it resolves. */
  async tell(scanned: ScannedPlugin): Promise<void> {
    const { folder, digest } = scanned;
    const { store } = this.deps;
    const fingerprint = digest ?? faultsOf(scanned);
    if (store.folders.get(folder) === fingerprint) return;
    await this.deps.ledger.append({
      type: "plugin.found",
      actor: "kernel",
      plugin: scanned.kind === "admitted" ? nameOfPackage(scanned) : scanned.name ?? "",
      data: { ...(digest === undefined ? {} : { packageSha256: digest }) },
      commit: { folder },
    });
    await store.together(() => store.folders.set(folder, fingerprint));
  }

  /** Forgets the folders that a scan did not find. */
  keepOnly(found: readonly ScannedPlugin[]): void {
    this.deps.store.folders.keepOnly(new Set(found.map(({ folder }) => folder)));
  }
}

function faultsOf(scanned: ScannedPlugin): string {
  if (scanned.kind === "admitted") return scanned.digest;
  const { message, options } = scanned.error;
  return sha256HexOf(JSON.stringify([message, options.errors ?? []]));
}

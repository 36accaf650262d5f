/**
 * The check of grants: whether a cell over them would be started, without starting one.
 *
 * @module
 */
import { limitsSchema } from "../../schemas/limits.ts";
import type { CellDescription } from "../../schemas/warden_protocol.ts";
import type { CellsOptions } from "./cells.ts";
import { checkDescription, type CheckedDescription } from "./check_description.ts";
import { cellCommand } from "./command_line.ts";
import { checkGrantedLinks } from "./granted_links.ts";
import type { Pace } from "./pace.ts";

type GrantsCheckOptions = Pick<CellsOptions, "bundleDir" | "config" | "environment" | "host" | "own"> & {
  readonly pace: Pace;
};

const pendingMax = 64;

export class GrantsCheck {
  #pending = 0;

  constructor(private readonly options: GrantsCheckOptions) {}

  /** Why a cell over this would be refused. Never rejects. */
  async faultOf(
    description: CheckedDescription & Pick<CellDescription, "tier">,
  ): Promise<string | undefined> {
    if (this.#pending >= pendingMax) return "Cannot check the grants now: too many others wait";
    this.#pending++;
    try {
      const { bundleDir, config, environment, host, own, pace } = this.options;
      checkDescription(description, own);
      const files = {
        ...{ bundleDir, socket: `${own.runFolder}/s`, temporaryDir: own.runFolder, auditPipe: undefined },
      };
      const anyCell = { cell: "check", token: "0".repeat(64), limits: limitsSchema.parse({}) };
      cellCommand({ ...description, ...anyCell }, files, host, environment);
      if (description.tier === "process") {
        await checkGrantedLinks(description, { entriesMax: config.grantEntriesMax, pace });
      }
      return undefined;
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    } finally {
      this.#pending--;
    }
  }
}

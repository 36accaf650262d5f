/**
 * The escape corpus: every row, by class.
 *
 * @module
 */
import type { Row } from "./row.ts";
import { addressRows } from "./rows/addresses.ts";
import { channelRows } from "./rows/channels.ts";
import { datagramRows } from "./rows/datagrams.ts";
import { descriptorRows } from "./rows/descriptors.ts";
import { envRows } from "./rows/env.ts";
import { exhaustionRows } from "./rows/exhaustion.ts";
import { fileTrickRows } from "./rows/file_tricks.ts";
import { floodRows } from "./rows/floods.ts";
import { forgeryRows } from "./rows/forgery.ts";
import { importRows } from "./rows/imports.ts";
import { nodeRows } from "./rows/node.ts";
import { nodeServiceRows } from "./rows/node_services.ts";
import { numericHostRows } from "./rows/numeric_hosts.ts";
import { pathRows } from "./rows/paths.ts";
import { pollutionRows } from "./rows/pollution.ts";
import { procRows } from "./rows/proc.ts";
import { protocolRows } from "./rows/protocol.ts";
import { runRows } from "./rows/run.ts";
import { signalRows } from "./rows/signals.ts";
import { workerRows } from "./rows/workers.ts";

export const rows: readonly Row[] = [
  ...[importRows, pathRows, fileTrickRows, procRows, nodeRows, nodeServiceRows, addressRows, numericHostRows],
  datagramRows,
  ...[envRows, runRows, descriptorRows, signalRows, workerRows, channelRows, exhaustionRows, floodRows],
  ...[protocolRows, pollutionRows, forgeryRows],
].flat();

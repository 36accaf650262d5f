/**
 * The operator's configuration: `airlock.jsonc`, over which environment and flags win.
 *
 * Every limit, queue and deadline of the kernel has its name here. Pure.
 *
 * @module
 */
import { z } from "zod";
import { operatorGrantsSchema } from "./capabilities.ts";
import { limitCapsSchema } from "./limits.ts";
import { pluginIdSchema } from "./plugin_id.ts";

const ms = (initial: number, description: string) =>
  z.int().min(1).max(86_400_000).default(initial).describe(description);
const count = (initial: number, description: string) =>
  z.int().min(1).max(10_000_000).default(initial).describe(description);
const bytes = (initial: number, description: string) =>
  z.int().min(1).max(1_073_741_824).default(initial).describe(description);

const originExpected =
  "must be an origin as browsers tell it, such as https://console.example or http://10.0.0.5:8080";
const hostExpected = "must be a host or host:port, such as airlock.example or airlock.example:8787";

/** No path, no slash at the end, no default port, no upper case: what a browser never sends would allow nothing. */
function isOrigin(text: string): boolean {
  if (!/^https?:/.test(text)) return /^[a-z][a-z0-9+.-]*:\/\/[a-z0-9._-]+$/.test(text);
  return URL.canParse(text) && new URL(text).origin === text;
}

function isHost(text: string): boolean {
  const match = /^(?:\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::([0-9]{1,5}))?$/i.exec(text);
  return match !== null && Number(match[1] ?? 0) <= 65_535;
}

export const configSchema = z.strictObject({
  $schema: z.string().optional().describe("For completion in an editor."),
  host: z.string().min(1).default("127.0.0.1").describe("The address to listen on."),
  port: z.int().min(0).max(65_535).default(8787).describe("0 picks a free port."),
  data: z.string().min(1).default("data").describe("The data folder."),
  plugins: z.array(z.string().min(1)).max(64).default([])
    .describe("Folders that hold one folder for each plugin, beside the bundled ones."),
  dev: z.boolean().default(false)
    .describe("Read a package again at each start of its cell, and log at level debug."),
  log: z.strictObject({
    level: z.enum(["debug", "info", "warning", "error"]).default("info").describe(
      "The least that is logged.",
    ),
  }).prefault({}).describe("The log, on stderr."),
  http: z.strictObject({
    bodyBytesMax: bytes(16_777_216, "Largest request body."),
    bodyTimeoutMs: ms(30_000, "A body must have arrived in this time."),
    drainTimeoutMs: ms(10_000, "At shutdown, calls under way get this long."),
  }).prefault({}).describe("The HTTP server."),
  cells: z.strictObject({
    tier: z.enum(["auto", "process", "sealed"]).default("auto")
      .describe("auto: sealed where it works. process: never sealed. sealed: refuse to start without it."),
    lower: z.array(pluginIdSchema).max(10_000).default([])
      .describe("Plugins that the operator runs in the process tier although sealed works."),
    programsOnNetwork: z.boolean().default(false).describe(
      "Allow net grants beside run or ffi: such a plugin's programs reach the whole network of this machine.",
    ),
    awakeMax: count(256, "Cells alive at once."),
    startTimeoutMs: ms(10_000, "From spawn to ready."),
    helloTimeoutMs: ms(1_000, "A connection must present its token in this time."),
    helloPendingMax: count(64, "Connections that may wait to present their token."),
    stopTimeoutMs: ms(2_000, "A plugin's stop() gets this long, then the cell is killed."),
    abortGraceMs: ms(50, "After the deadline of a call, before its cell is killed."),
    inputBytesPendingMax: bytes(134_217_728, "Inputs of all calls under way and waiting."),
    cellWaitMs: ms(2_000, "A call waits for its cell as long as it may then take, and at least this long."),
    callsPendingMax: count(256, "Calls that may wait, for each action."),
    frameBytesMax: bytes(33_554_432, "Largest frame, both ways."),
    streamWindowChars: count(262_144, "Characters of one stream under way to its reader."),
    sampleIntervalMs: ms(50, "How often the warden looks at each cell."),
    cpuWindowMs: ms(5_000, "A cell may use twice its share of CPU for this long."),
    diskScanMs: ms(
      1_000,
      "How often the files of a cell that worked are counted; sooner when that is quick.",
    ),
    diskMbPerSecond: count(
      8,
      "A cell may write so much to disks, and at once as much as it may keep; one that writes more stands still.",
    ),
    grantEntriesMax: count(
      10_000,
      "Files in the folders granted to a plugin in the process tier, where each is looked at for links.",
    ),
    niceness: z.int().min(0).max(19).default(5).describe("Scheduling priority of cells: 0 is the kernel's."),
    nicenessOverShare: z.int().min(0).max(19).default(15).describe("That of a cell over its share of CPU."),
    greedyPercentMin: z.int().min(1).max(100).default(12).describe(
      "Of the machine's CPU, what cells that never rest have together at least; they take turns where it is short.",
    ),
    heartbeatIntervalMs: ms(1_000, "How often a cell's main thread is asked for a sign of life."),
    heartbeatTimeoutMs: ms(5_000, "A cell that gave none for this long is killed."),
    healthFailuresMax: count(
      3,
      "Health checks of a plugin that may fail in a row before its cell is killed.",
    ),
    restartBackoffMs: ms(100, "Pause before a crashed cell is started again; doubles with each failure."),
    restartBackoffMaxMs: ms(30_000, "Longest such pause."),
    restartsMax: count(4, "Crashed cells started again at once; critical plugins go first."),
    breakerFailures: count(20, "Calls of a plugin that fail in a row before its breaker opens."),
    breakerOpenMs: ms(5_000, "An open breaker lets a first call through after this long."),
    logLinesMax: count(500, "Lines of log kept for each plugin."),
  }).prefault({}).describe("Cells, the processes that plugins run in."),
  limits: limitCapsSchema.prefault({}).describe("Caps over what any manifest asks."),
  grants: z.record(pluginIdSchema, operatorGrantsSchema).default({})
    .describe("What each plugin, by id, is granted of what it requests."),
  ledger: z.strictObject({
    origin: z.string().regex(/^[^\s+]{1,128}$/).optional()
      .describe("Name of the log, in its key and checkpoints. Settled when the ledger is made."),
    batchRecordsMax: z.int().min(1).max(256).default(256).describe("Records written and synced together."),
    queueRecordsMax: z.int().min(4_096).max(10_000_000).default(65_536)
      .describe("Records that may wait for the disk; a start alone writes some for each plugin."),
    valueBytesMax: z.int().min(0).max(1_048_576).default(4_096)
      .describe("Inputs and outputs up to this size are kept beside their salt."),
    commitmentsMax: count(1_000_000, "Commitments whose salt is kept; the oldest go first."),
    refusalsWindowMs: ms(10_000, "Refused tokens are written once in this time, with a count."),
    refusalsMax: count(
      100,
      "Refusals of one caller in that time with an entry each; the others are counted.",
    ),
    public: z.boolean().default(false).describe("Whether /log is served without a token."),
    openRecordsMax: count(16_384, "Records read again before a start; the older ones are read after it."),
    auditRecordsPerSecond: count(10_000, "How fast the older records are read again after a start."),
    filterRecordsMax: count(10_000, "Records that one request with a filter looks at."),
  }).prefault({}).describe("The ledger."),
  audit: z.strictObject({
    bytesPerSecond: z.int().min(65_536).max(1_073_741_824).default(1_048_576).describe(
      "Of what Deno tells of a cell's permission checks, some 100 bytes each, so much is read; a plugin that makes " +
        "more of them waits.",
    ),
    resourcesMax: count(
      1_000,
      "Resources of one plugin that are told apart, granted and refused ones each; checks of others are counted.",
    ),
    windowMs: ms(60_000, "Refused resources are written one by one, up to refusalsMax, in this time."),
    refusalsMax: count(
      100,
      "Refused resources of one plugin in that time with an entry each; checks of the others are counted.",
    ),
    keptMs: z.int().min(1).max(31_536_000_000).default(2_592_000_000).describe(
      "The audit of a plugin that is not installed any more is kept this long after its last check, and of " +
        "pluginsMax such plugins at the most.",
    ),
  }).prefault({}).describe("The audit of what plugins touch."),
  jobs: z.strictObject({
    runningMax: count(256, "Jobs that run at once."),
    perPluginMax: count(64, "Jobs of one plugin that run at once."),
    waitingMax: count(1_000_000, "Jobs that may wait."),
    waitingPerActorMax: count(100_000, "Jobs of one caller that may wait."),
    bytesMax: z.int().min(1).max(1_099_511_627_776).default(4_294_967_296)
      .describe("Size of the jobs' file above which none are accepted."),
    deadlineMs: ms(3_600_000, "Longest attempt of any job."),
    leaseMs: ms(
      30_000,
      "An attempt that is not over so long after the longest time it may take has lost its job.",
    ),
    cancelGraceMs: ms(5_000, "After a job was cancelled, before its cell is killed."),
    interruptionsMax: z.int().min(0).max(1_000).default(3)
      .describe("How often a job whose cell or kernel ended under it is made again at no cost."),
    backoffMaxMs: ms(3_600_000, "Longest pause between two attempts."),
    pauseMs: ms(1_000, "How soon jobs that wait for their plugin are looked at again."),
    retentionMs: z.int().min(1).max(31_536_000_000).default(604_800_000)
      .describe("Jobs that ended are kept this long."),
    keptMax: count(
      1_000_000,
      "Jobs that ended and are kept, a pipeline counted as one; the oldest go first.",
    ),
    eventsBytesMax: bytes(67_108_864, "Events that are kept of one job; later tokens are not."),
    logBytesMax: bytes(1_048_576, "Log that is kept of one job; later lines are not."),
    schedulesMax: count(10_000, "Schedules at once."),
    pipelinesMax: count(256, "Pipelines that run at once."),
    pipelineDepthMax: z.int().min(1).max(32).default(8).describe("Nesting of a pipeline's branches."),
  }).prefault({}).describe("Durable jobs."),
  streams: z.strictObject({
    feedEventsMax: count(8_192, "Events of the feed that are kept for slow readers."),
    readersMax: count(1_024, "Readers of events at once, WebSocket connections included."),
    readerBytesMax: bytes(262_144, "Bytes under way to one reader."),
    readerTimeoutMs: ms(
      30_000,
      "A reader that has taken nothing for this long is cut off; of a WebSocket, beside the time that what is on " +
        "its way takes at 64 KiB/s.",
    ),
    requestsMax: count(64, "Requests under way at once on one WebSocket."),
    messageBytesMax: bytes(16_777_216, "Largest message of a WebSocket client."),
    initTimeoutMs: ms(10_000, "A WebSocket client must have sent INIT in this time."),
    pongIntervalMs: ms(5_000, "How often a WebSocket client is sent a sign of life."),
    origins: z.array(z.string().max(256).refine(isOrigin, originExpected)).max(64).default([])
      .describe("Origins of web pages that may open a WebSocket, beside Airlock's own."),
    hosts: z.array(z.string().max(256).refine(isHost, hostExpected)).max(64).default([])
      .describe(
        "Names, `name` or `name:port`, by which a WebSocket may be asked for, beside the own address.",
      ),
  }).prefault({}).describe("Events and streams."),
  tokensMax: count(10_000, "Tokens that exist at once."),
  pluginsMax: count(2_000, "Plugins at once, the bundled ones included."),
  packageBytesMax: bytes(268_435_456, "Largest package."),
  packageFilesMax: count(10_000, "Most files in a package."),
});
export type Config = z.infer<typeof configSchema>;

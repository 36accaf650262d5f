/**
 * The kernel's end of its pipe to the warden: asks for cells and signals, and hears of their ends.
 *
 * Each cell has one listener here from the moment it is asked for until its end is reported; nothing is
 * kept for a cell after that.
 *
 * @module
 */
import type { CellDescription, FromWarden, ToWarden } from "../schemas/warden_protocol.ts";

/** What the warden reports of one cell. */
export interface CellReports {
  onRefused(message: string): void;
  onLocated(pid: number | null): void;
  onLog(text: string): void;
  onEnded(end: Omit<Extract<FromWarden, { type: "ended" }>, "type" | "cell">): void;
}

export class WardenLink {
  readonly #cells = new Map<string, CellReports>();

  constructor(private readonly send: (message: ToWarden) => void) {}

  start(description: CellDescription, reports: CellReports): void {
    this.#cells.set(description.cell, reports);
    this.send({ type: "start", description });
  }

  locate(cell: string): void {
    this.send({ type: "locate", cell });
  }

  kill(cell: string): void {
    this.send({ type: "kill", cell });
  }

  /** Takes a message of the warden. Reports on a cell that has ended are late, and dropped. */
  receive(message: Exclude<FromWarden, { type: "drain" }>): void {
    if (message.type === "checked") return;
    const reports = this.#cells.get(message.cell);
    if (reports === undefined) return;
    switch (message.type) {
      case "started":
      case "suspended":
      case "resumed":
        return;
      case "refused":
        this.#cells.delete(message.cell);
        return reports.onRefused(message.message);
      case "located":
        return reports.onLocated(message.pid);
      case "log":
        return reports.onLog(message.text);
      case "ended": {
        const { exitCode, signal, killed, detail, calls } = message;
        this.#cells.delete(message.cell);
        return reports.onEnded({ exitCode, signal, killed, detail, calls });
      }
    }
  }
}

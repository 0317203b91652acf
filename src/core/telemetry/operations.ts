import type { Logger } from "pino";
import { logText } from "../failure/log-text.js";

export const OPERATION_KINDS = [
  "create",
  "start",
  "add-exec",
  "exec",
  "exit",
  "delete",
  "signal",
  "update-process",
  "pause",
  "resume",
  "update",
  "stats",
  "state",
  "checkpoint",
  "delete-checkpoint",
  "restore",
] as const;

export type OperationKind = (typeof OPERATION_KINDS)[number];

/** What an operation is about. */
export interface OperationTarget {
  kind: OperationKind;
  /** The container's; "" for all. */
  id: string;
  /** Name of the process, of operations on one. */
  pid?: string | undefined;
}

/** Something that the supervisor is at. */
export interface Operation extends OperationTarget {
  /** On performance.now()'s clock. */
  readonly since: number;
  /** What it does or waits for right now. */
  doing: string;
}

/** How often a kind of operation has ended. */
export interface OperationTotals {
  succeeded: number;
  failed: number;
}

/** Everything that is under way, so that a daemon that seems to hang can be asked what it waits for. */
export class Operations {
  readonly #log: Logger;
  readonly #running = new Set<Operation>();
  readonly totals = Object.fromEntries(OPERATION_KINDS.map((kind) => [kind, { succeeded: 0, failed: 0 }])) as Record<
    OperationKind,
    OperationTotals
  >;

  constructor(log: Logger) {
    this.#log = log;
  }

  /** The longest under way first. */
  get running(): ReadonlySet<Operation> {
    return this.#running;
  }

  /** Runs `body` to its end, or until its promise is settled, with what it is about on record. Returns and throws what `body` does. */
  run<T>(target: OperationTarget, body: (operation: Operation) => T): T {
    // Not by spreading the target: that costs more than all the rest, and some calls (Signal, Stats) come often.
    const { kind, id, pid } = target;
    const operation: Operation = { kind, id, pid, since: performance.now(), doing: "running" };
    this.#running.add(operation);
    let result: T;
    try {
      result = body(operation);
    } catch (error) {
      this.#fail(operation, error);
      throw error;
    }
    if (result instanceof Promise) {
      result.then(
        () => this.#succeed(operation),
        (error: unknown) => this.#fail(operation, error),
      );
    } else {
      this.#succeed(operation);
    }
    return result;
  }

  #succeed(operation: Operation): void {
    this.#running.delete(operation);
    this.totals[operation.kind].succeeded++;
    if (this.#log.isLevelEnabled("debug")) this.#log.debug(fields(operation), "containerd: operation");
  }

  #fail(operation: Operation, error: unknown): void {
    this.#running.delete(operation);
    this.totals[operation.kind].failed++;
    if (!this.#log.isLevelEnabled("debug")) return;
    this.#log.debug({ ...fields(operation), error: logText(error) }, "containerd: operation failed");
  }
}

function fields({ kind, id, pid, since }: Operation) {
  return { kind, id, ...(pid === undefined ? {} : { pid }), duration: Math.round(performance.now() - since) };
}

/** What a client knows of its containers: what it asked for, what it was answered, what the events told. */

/** How a process ends. */
export interface Ending {
  /** By itself, with this status; undefined: only when it is killed. */
  readonly status: number | undefined;
}

/** A process from the request for it to its exit event. */
export class ProcessLife {
  /** The call was answered: it must be there. */
  acknowledged = false;
  /** Its start event has been seen. */
  started = false;
  /** The status of its exit event. */
  exited: number | undefined;
  /** Somebody has asked for its death; `true` once that was answered, so that it must come. */
  killed: "no" | "maybe" | "yes" = "no";
  /** Its shim has been killed. */
  shimKilled = false;

  constructor(
    readonly pid: string,
    readonly ending: Ending,
  ) {}

  get running(): boolean {
    return this.started && this.exited === undefined;
  }

  /** Its exit must come without anything more being done. */
  get mustEnd(): boolean {
    return this.ending.status !== undefined || this.killed === "yes" || this.shimKilled;
  }

  askToKill(): void {
    if (this.killed === "no") this.killed = "maybe";
  }

  /** Why it can't have ended with this status; undefined when it can. */
  contradicts(status: number, killedBesides: boolean): string | undefined {
    const possible = new Set<number>();
    if (this.ending.status !== undefined) possible.add(this.ending.status);
    // A start that was never answered may have been undone.
    if (this.killed !== "no" || this.shimKilled || killedBesides || !this.acknowledged) possible.add(137);
    // It had ended when its shim was killed: nobody can know how any more.
    if (this.shimKilled && (this.ending.status !== undefined || this.killed !== "no" || killedBesides))
      possible.add(255);
    if (possible.has(status)) return undefined;
    return possible.size === 0
      ? `status ${status} of a process that nobody ended`
      : `status ${status}, not ${[...possible].join(" or ")}`;
  }
}

/** A container from the request for it to its exit event. */
export class ContainerLife extends ProcessLife {
  readonly execs = new Map<string, ProcessLife>();
  paused = false;

  constructor(
    readonly id: string,
    ending: Ending,
  ) {
    super("init", ending);
  }

  /** The names of all processes that run, by the events. */
  get runningProcesses(): string[] {
    return ["init", ...[...this.execs.values()].filter((exec) => exec.running).map((exec) => exec.pid)].sort();
  }
}

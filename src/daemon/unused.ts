/** What says whether somebody uses the daemon. */
export interface Uses {
  clients: {
    /** Connections that are open now. */
    readonly open: number;
    /** Connections that there have been. */
    readonly accepted: number;
  };
  tasks: { all(): Iterable<{ readonly status: string }> };
  /** Whether something is to run that does not yet. */
  engine: { readonly startsMore: boolean };
}

/**
 * So often within the time is looked whether somebody uses it. What counts are looks, not time: a process that stood still for a while has
 * given nobody the chance to connect meanwhile.
 */
const LOOKS = 5;

/**
 * Calls `end`, once, when no client has been connected for `duration` ms, and no task is left that has not ended. A task that belongs to a
 * program ends with it; what is left without any client was started to stay.
 */
export function whenUnused({ clients, tasks, engine }: Uses, duration: number, end: () => void): void {
  let accepted = -1;
  let unused = 0;
  const timer = setInterval(() => {
    const isUsed =
      clients.open > 0 ||
      clients.accepted !== accepted ||
      engine.startsMore ||
      [...tasks.all()].some(({ status }) => status !== "stopped");
    accepted = clients.accepted;
    unused = isUsed ? 0 : unused + 1;
    if (unused < LOOKS) return;
    clearInterval(timer);
    end();
  }, duration / LOOKS);
}

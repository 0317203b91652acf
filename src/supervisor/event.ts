export type EventType = "exit" | "oom" | "pause" | "resume" | "start-container" | "start-process";

/** Something that happened to a container. */
export interface Event {
  type: EventType;
  /** The container's. */
  id: string;
  /** Name of the process; of exit and start-process only. */
  pid?: string;
  /** Of exit only: the exit code, 128 + N for death by signal N. */
  status?: number;
  /** Nanoseconds since the epoch; every event has another, later than those before it. */
  timestamp: bigint;
}

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
  /** Of exit, start-container and start-process: {@link Process.run}, which the log keeps and nobody is sent. */
  run?: string;
  /** Of an init's exit only, where it is known: the most memory in bytes that the container had. */
  memoryPeak?: bigint;
  /** Nanoseconds since the epoch; every event has another, later than those before it. */
  timestamp: bigint;
}

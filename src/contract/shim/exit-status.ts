/** How a process has ended: its exit code, or {@link SIGNALLED} and the number of the signal that killed it. */
export type ExitStatus = number;

export const SIGNALLED = 128;
/** Of a process that SIGKILL has ended. */
export const KILLED_STATUS = 137;
/** Of a process whose exit status is unknown. */
export const UNKNOWN_STATUS = 255;

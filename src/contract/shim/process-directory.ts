/**
 * The files of a process directory, the shim's working directory, that a daemon and a shim both know; docs/shim.md says who writes them.
 * Daemons and shims of different versions meet there: no name may change its meaning.
 */

/** What is to be run: {@link ProcessJson}. */
export const PROCESS_JSON = "process.json";
/** FIFO: its hang-up is the notice of the exit. */
export const EXIT_FIFO = "exit";
/** FIFO: requests to the shim, {@link ControlRequest}. */
export const CONTROL_FIFO = "control";
/** The process's pid on the host, by the runtime. */
export const PID_FILE = "pid";
/** {@link ExitStatus} as a decimal number. */
export const EXIT_STATUS_FILE = "exitStatus";
/** The same file before there is a status: it keeps room on the disk. */
export const RESERVED_EXIT_STATUS_FILE = "exitStatus.reserved";
/** JSON lines of the shim's own errors. */
export const SHIM_LOG = "shim-log.json";
/** JSON lines of the runtime's errors. */
export const RUNTIME_LOG = "log.json";
/** Where the runtime delivers a terminal. */
export const CONSOLE_SOCKET = "console.sock";
/** There when the start was undone: the container has never run. */
export const ABANDONED_FILE = "abandoned";
/** By a daemon: the container is created and stays so, whatever becomes of the daemon, until one starts or deletes it. */
export const CREATED_FILE = "created";
/** What the container has used: {@link UsageJson}. */
export const USAGE_FILE = "usage";
/** In the container's directory, one above: where its cgroup is, {@link CgroupJson}. */
export const CGROUP_JSON = "cgroup.json";

/** Where an output of a process goes. */
export interface OutputJson {
  /** Of a FIFO, a file or a terminal; empty for /dev/null. With `log`: of the directory that it is in. */
  path: string;
  /** There when the output goes into a log of the shim's; stdout and stderr have the same one. */
  log?: LogJson;
  /** There when the path is that of a program that is to get the output, with these arguments and this environment. */
  program?: { args: readonly string[]; environment: readonly string[] };
}

/** A container's log: docs/logs.md has its format. */
export interface LogJson {
  /** Where the newest of the files that are there begins, in bytes from the beginning of the log; 0 when there is none. */
  start: number;
  /** How large a file may become, in bytes. */
  maxSize: number;
  /** How many files there may be. */
  maxFiles: number;
}

/** What the names of a process's stdio lead to, where they are more than paths. */
export interface StdioJson {
  /** A path; empty for /dev/null. */
  stdin: string;
  stdout: OutputJson;
  stderr: OutputJson;
}

/** What process.json holds besides the fields of the OCI process. */
export interface ProcessJson {
  /** An additional process of a container that runs already. */
  exec: boolean;
  /** What the stdio is called: paths of FIFOs or files, empty for /dev/null, unless `stdio` says what else. */
  containerdStdin: string;
  containerdStdout: string;
  containerdStderr: string;
  /** Where these names lead; not there when they are paths. */
  stdio?: StdioJson;
  /** What goes before every subcommand of the runtime. */
  runtimeArgs: readonly string[] | null;
  noPivotRoot: boolean;
  /** The container gets no session keyring of its own. */
  noNewKeyring?: boolean;
  /** Where the runtime keeps the container; there when all that its `delete` does is to remove that and the container's cgroups. */
  runtimeDirectory?: string;
  /** The directory of the checkpoint to restore from; empty: none. */
  checkpoint: string;
  /** The container's root on the host, or whoever else its stdio is to belong to. */
  rootUID: number;
  rootGID: number;
}

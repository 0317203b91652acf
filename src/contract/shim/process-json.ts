/** Where an output of a process goes. */
export interface OutputJson {
  /** Of a FIFO, a file or a terminal; empty for /dev/null. */
  path: string;
  /** There when the path is that of a program that is to get the output, with these arguments and this environment. */
  program?: { args: readonly string[]; environment: readonly string[] };
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

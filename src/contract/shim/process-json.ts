/** What process.json holds besides the fields of the OCI process. */
export interface ProcessJson {
  /** An additional process of a container that runs already. */
  exec: boolean;
  /** Paths of FIFOs or files; empty for /dev/null. */
  containerdStdin: string;
  containerdStdout: string;
  containerdStderr: string;
  /** What goes before every subcommand of the runtime. */
  runtimeArgs: readonly string[] | null;
  noPivotRoot: boolean;
  /** The directory of the checkpoint to restore from; empty: none. */
  checkpoint: string;
  /** The container's root on the host. */
  rootUID: number;
  rootGID: number;
}

/** A value of a type that only its user knows; kept and given back byte for byte. */
export interface Any {
  typeUrl: string;
  value: Buffer;
}

/** What is known of a container, whether a task of it runs or not. */
export interface ContainerRecord {
  id: string;
  labels: Record<string, string>;
  image: string;
  runtime: { name: string; options?: Any | undefined };
  spec?: Any | undefined;
  snapshotter: string;
  snapshotKey: string;
  /** Nanoseconds since the epoch. */
  createdAt: bigint;
  updatedAt: bigint;
  extensions: Record<string, Any>;
  sandbox: string;
}

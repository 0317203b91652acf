/** What a container has used, as its shim writes it down before the cgroup goes. */
export interface UsageJson {
  /** The most memory it had, in bytes; not there where the kernel does not tell. */
  memoryPeak?: number;
  /** How many of its processes were killed for lack of memory. */
  oomKills?: number;
  /** Of all processors that it has had, in ns; not there where the kernel does not tell. */
  cpuTime?: number;
}

/** What a shim reads of cgroup.json. */
export interface CgroupJson {
  /** The directories that were not there before the runtime was called. */
  made?: readonly string[];
  /** Those that the container's first process was in, by controller. */
  place?: Record<string, { path: string } | undefined> & {
    /** v1's hierarchy of the memory controller. */
    memory?: { path: string };
    /** v1's of the time on processors. */
    cpuacct?: { path: string };
    /** v2's. */
    unified?: { path: string };
  };
}

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
  place?: {
    /** v1's hierarchy of the memory controller. */
    memory?: { path: string };
    /** v1's of the time on processors. */
    cpuacct?: { path: string };
    /** v2's. */
    unified?: { path: string };
  };
}

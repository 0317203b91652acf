/** Who a process is, as the root file system's /etc/passwd and /etc/group have it. */
export interface ResolvedUser {
  uid: number;
  gid: number;
  additionalGids: readonly number[];
  /** `HOME`; undefined where there is no entry of the user: then it is up to the runtime. */
  home?: string | undefined;
  /** "" where there is no entry. */
  name: string;
}

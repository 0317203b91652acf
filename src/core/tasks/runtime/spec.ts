/** The parts of the OCI runtime-spec that this project looks at; all else passes through untouched. */

export interface OciUser {
  uid?: number;
  gid?: number;
  additionalGids?: number[] | null;
  umask?: number;
}

export interface OciCapabilities {
  bounding?: string[] | null;
  effective?: string[] | null;
  inheritable?: string[] | null;
  permitted?: string[] | null;
  ambient?: string[] | null;
}

export interface OciRlimit {
  type: string;
  soft: number | bigint;
  hard: number | bigint;
}

export interface OciProcess {
  terminal?: boolean;
  user?: OciUser;
  args?: string[] | null;
  env?: string[] | null;
  cwd?: string;
  /** A list before runtime-spec 1.0. */
  capabilities?: OciCapabilities | string[] | null;
  rlimits?: OciRlimit[] | null;
  noNewPrivileges?: boolean;
  apparmorProfile?: string;
  selinuxLabel?: string;
}

export interface OciIdMapping {
  containerID: number;
  hostID: number;
  size: number;
}

export interface OciSpec {
  process?: OciProcess;
  root?: { path?: string };
  mounts?: { source?: string; type?: string; options?: string[] }[];
  hooks?: { poststart?: unknown[] | null; poststop?: unknown[] | null } | null;
  linux?: {
    cgroupsPath?: string;
    uidMappings?: OciIdMapping[] | null;
    gidMappings?: OciIdMapping[] | null;
    intelRdt?: unknown;
    seccomp?: { syscalls?: { name?: string; names?: string[] }[] };
  };
}

/** A list of capabilities, as configs before runtime-spec 1.0 have it, in its form. */
export function capabilitySets(list: string[]): OciCapabilities {
  return { bounding: list, effective: list, inheritable: list, permitted: list };
}

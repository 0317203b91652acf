import { CAPABILITIES } from "../../src/contract/capabilities.js";
import type { ContainerConfig } from "../../src/core/engine/container-config.js";
import type { HostFacts } from "../../src/core/engine/spec/host-facts.js";
import type { ImageConfig } from "../../src/core/engine/spec/image-config.js";
import type { ResolvedUser } from "../../src/core/engine/spec/user.js";

/** A container that nobody wishes anything of, but these. */
export function containerConfig(wishes: Partial<ContainerConfig> = {}): ContainerConfig {
  return {
    image: "docker.io/library/busybox:latest",
    rootfs: "",
    writable: false,
    readOnly: false,
    env: [],
    user: "",
    groupAdd: [],
    workdir: "",
    hostname: "",
    domainname: "",
    tty: false,
    openStdin: false,
    stopSignal: "",
    init: false,
    labels: {},
    resources: {},
    ulimits: [],
    cgroupParent: "",
    mounts: [],
    devices: [],
    extraHosts: [],
    shmSize: 0,
    privileged: false,
    capAdd: [],
    capDrop: [],
    noNewPrivileges: false,
    seccomp: "default",
    apparmor: "",
    sysctls: {},
    network: { mode: "none" },
    pid: { mode: "private" },
    ipc: { mode: "private" },
    uts: { mode: "private" },
    cgroupns: { mode: "private" },
    userns: { mode: "host" },
    runtime: "",
    ...wishes,
  };
}

/** An image that says nothing, but this. */
export function imageConfig(says: Partial<ImageConfig> = {}): ImageConfig {
  return {
    entrypoint: undefined,
    cmd: undefined,
    env: [],
    user: "",
    workdir: "",
    stopSignal: "",
    labels: {},
    volumes: [],
    exposedPorts: [],
    shell: undefined,
    healthcheck: undefined,
    ...says,
  };
}

export const ROOT: ResolvedUser = { uid: 0, gid: 0, additionalGids: [], home: "/root", name: "root" };

/** A machine with these capabilities of Docker and more, cgroup v1, and no devices. */
export function hostFacts(facts: Partial<HostFacts> = {}): HostFacts {
  return {
    cgroupVersion: 1,
    systemdCgroup: false,
    swapLimit: true,
    capabilities: CAPABILITIES,
    appArmor: false,
    hostname: "machine",
    mostFiles: 1 << 20,
    kernel: [6, 1],
    devices: new Map(),
    sharedSources: new Set(),
    ...facts,
  };
}

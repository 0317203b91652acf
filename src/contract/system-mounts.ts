/** The file systems that every program expects in a container, as far as they are the same in all. Each call makes one anew. */
interface SystemMount {
  destination: string;
  type: string;
  source: string;
  options: string[];
}

/** Nothing on it gives rights, is a program, or leads to a device. */
export const PLAIN: readonly string[] = ["nosuid", "noexec", "nodev"];

/** Which group writes to terminals, where there is such a group. */
export const TTY_GROUP = 5;

export function dev(): SystemMount {
  const options = ["nosuid", "strictatime", "mode=755", "size=65536k"];
  return { destination: "/dev", type: "tmpfs", source: "tmpfs", options };
}

/** @param hasTtyGroup whether the container has that group */
export function devpts(hasTtyGroup: boolean): SystemMount {
  const group = hasTtyGroup ? [`gid=${TTY_GROUP}`] : [];
  const options = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", ...group];
  return { destination: "/dev/pts", type: "devpts", source: "devpts", options };
}

export function mqueue(): SystemMount {
  return { destination: "/dev/mqueue", type: "mqueue", source: "mqueue", options: [...PLAIN] };
}

/** @param size in bytes */
export function sharedMemory(size: number): SystemMount {
  const options = [...PLAIN, "mode=1777", `size=${size}`];
  return { destination: "/dev/shm", type: "tmpfs", source: "shm", options };
}

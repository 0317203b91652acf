import { listeningFamily } from "../../system/linux/socket-options.js";

/** The first descriptor that a service manager passes (sd_listen_fds(3)). */
const FIRST = 3;

/** A listening socket that this process was started with. */
export interface InheritedSocket {
  fd: number;
  family: "unix" | "other";
}

/**
 * The sockets of systemd's socket activation (sd_listen_fds(3)): `LISTEN_FDS` from descriptor 3 on, meant for the process `LISTEN_PID`,
 * with the names of `LISTEN_FDNAMES`.
 * @param name the ones with this name, or the one with this descriptor number; "" for all
 * @throws Error when there is none, or one that does not listen
 */
export function inheritedSockets(
  name: string,
  env: Readonly<Record<string, string | undefined>> = process.env,
): InheritedSocket[] {
  const count = env.LISTEN_PID === String(process.pid) ? Number(env.LISTEN_FDS) : 0;
  if (!Number.isInteger(count) || count < 1)
    throw new Error(`listen fd://${name}: the service manager has passed no sockets (LISTEN_FDS, LISTEN_PID)`);
  const names = (env.LISTEN_FDNAMES ?? "").split(":");
  const descriptors = Array.from({ length: count }, (_, index) => FIRST + index).filter(
    (fd) => name === "" || name === String(fd) || name === names[fd - FIRST],
  );
  if (descriptors.length === 0) throw new Error(`listen fd://${name}: no such socket among ${names.join(", ")}`);
  return descriptors.map((fd) => {
    const family = listeningFamily(fd);
    if (family === undefined) throw new Error(`listen fd://${name}: descriptor ${fd} is no listening socket`);
    return { fd, family };
  });
}

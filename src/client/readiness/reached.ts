import { readFile } from "node:fs/promises";
import { connect } from "node:net";
import type { ContainerInfo } from "../containers/container-info.js";

/** In ms: how long one attempt to connect may take. What is refused is known at once. */
const CONNECT_TIMEOUT = 5_000;
/** Of a socket in /proc/net: it listens; of UDP: it is bound. */
const LISTENS = { tcp: "0A", udp: "07" };

export interface HostPort {
  host: string;
  port: number;
}

/**
 * Where a port of a container is reached from here.
 *
 * @param daemonHost of the daemon's address; undefined: it is this machine
 * @returns undefined where nothing leads to it
 */
export function reachedAt(
  { ports, endpoints, config }: ContainerInfo,
  { port, protocol }: { port: number; protocol: string },
  daemonHost: string | undefined,
): HostPort | undefined {
  const published = ports.find((binding) => binding.containerPort === port && binding.protocol === protocol);
  if (published !== undefined) {
    const { hostAddress, hostPort } = published;
    const isAny = ["", "0.0.0.0", "::"].includes(hostAddress);
    return { host: isAny ? (daemonHost ?? (hostAddress === "::" ? "::1" : "127.0.0.1")) : hostAddress, port: hostPort };
  }
  if (config?.network === "host") return { host: daemonHost ?? "127.0.0.1", port };
  const own = endpoints.find(({ address }) => address !== "");
  if (own === undefined || daemonHost !== undefined) return undefined;
  return { host: own.address.split("/")[0]!, port };
}

/** Whether somebody accepts connections there. */
export function accepts({ host, port }: HostPort, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: CONNECT_TIMEOUT });
    const done = (isOpen: boolean) => {
      signal.removeEventListener("abort", aborted);
      socket.destroy();
      resolve(isOpen);
    };
    const aborted = () => done(false);
    signal.addEventListener("abort", aborted, { once: true });
    socket.once("connect", () => done(true));
    socket.once("timeout", () => done(false));
    socket.once("error", () => done(false));
  });
}

/**
 * Whether somebody listens on a port in the network namespace of a process, as far as it can be seen from here.
 * @returns the addresses, in the kernel's form; undefined when it can't be seen, as from another machine
 */
export async function listenersInside(
  { id, pid }: ContainerInfo,
  { port, protocol }: { port: number; protocol: string },
): Promise<string[] | undefined> {
  if (pid === 0) return [];
  try {
    // The number may be another process's, where the daemon's processes are not seen.
    if (!(await readFile(`/proc/${pid}/cgroup`, "utf8")).includes(id)) return undefined;
    const tables = await Promise.all(
      [protocol, `${protocol}6`].map((name) => readFile(`/proc/${pid}/net/${name}`, "utf8").catch(() => "")),
    );
    const wanted = port.toString(16).toUpperCase().padStart(4, "0");
    return tables.flatMap((table) =>
      table.split("\n").flatMap((line) => {
        const [, local = "", , state] = line.trim().split(/\s+/);
        const [address = "", at] = local.split(":");
        return at === wanted && state === LISTENS[protocol as keyof typeof LISTENS] ? [address] : [];
      }),
    );
  } catch {
    return undefined;
  }
}

/** Whether only the container itself gets there, by 127.0.0.1 or ::1. */
export function isLoopback(address: string): boolean {
  return address === "00000000000000000000000001000000" || /^[0-9A-F]{6}7F$/.test(address);
}

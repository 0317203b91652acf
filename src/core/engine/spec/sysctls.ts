import type { ContainerConfig } from "../container-config.js";
import { checkText, invalidOption } from "./invalid-option.js";

/** Which namespaces a container has for itself: settings of the others are those of whoever else is in them. */
export interface OwnNamespaces {
  network: boolean;
  ipc: boolean;
  uts: boolean;
  user: boolean;
}

const OF_IPC = new Set([
  "kernel.msgmax",
  "kernel.msgmnb",
  "kernel.msgmni",
  "kernel.sem",
  "kernel.shmall",
  "kernel.shmmax",
  "kernel.shmmni",
  "kernel.shm_rmid_forced",
]);

/** What programs in a network of their own may do without a capability, as with Docker: listen on low ports, and ping. */
const OF_OWN_NETWORK = { "net.ipv4.ip_unprivileged_port_start": "0" };

/** @throws Failure (invalid-argument) for one that is not the container's own */
export function sysctlsOf(
  { sysctls, domainname }: Pick<ContainerConfig, "sysctls" | "domainname">,
  own: OwnNamespaces,
): Record<string, string> | undefined {
  const given = Object.entries(sysctls).map(([name, value]): [string, string] => {
    checkSysctl(name, value, own);
    // Both spellings are the kernel's; in this one names of networks may have dots.
    return [name.includes("/") ? dotted(name) : name, value];
  });
  const defaults = Object.entries({
    ...(own.network ? OF_OWN_NETWORK : {}),
    // Every group there is, which the kernel takes only where each of them has an id outside.
    ...(own.network && !own.user ? { "net.ipv4.ping_group_range": "0 2147483647" } : {}),
    // It belongs to the host's root, whom a user namespace does not have.
    ...(domainname !== "" && own.uts && !own.user ? { "kernel.domainname": domainname } : {}),
  });
  const all = new Map([...defaults, ...given]);
  return all.size === 0 ? undefined : Object.fromEntries(all);
}

/** `net/ipv4/conf/eth0.1/x` is `net.ipv4.conf.eth0/1.x`. */
function dotted(name: string): string {
  const [first] = /[./]/.exec(name)!;
  return first === "." ? name : name.replace(/[./]/g, (mark) => (mark === "/" ? "." : "/"));
}

function checkSysctl(given: string, value: string, own: OwnNamespaces): void {
  const option = `sysctls[${JSON.stringify(given)}]`;
  checkText(option, value);
  if (!/^[\w-]+(?:[./][\w:-]+)+$/.test(given))
    throw invalidOption("sysctls", given, "a name must be like net.ipv4.ip_forward");
  const name = dotted(given);
  const need = (isOwn: boolean, namespace: string, mode: string) => {
    const why = `it belongs to the ${namespace} namespace, of which the container has none of its own: ${mode}`;
    if (!isOwn) throw invalidOption("sysctls", given, why);
  };
  if (name.startsWith("net.")) need(own.network, "network", 'network "none" gives it one, as networks do');
  else if (OF_IPC.has(name) || name.startsWith("fs.mqueue.")) need(own.ipc, "IPC", 'ipc "private" gives it one');
  else if (name === "kernel.hostname") throw invalidOption("sysctls", given, "the option hostname sets it");
  else if (name === "kernel.domainname") need(own.uts, "UTS", 'uts "private" gives it one');
  else
    throw invalidOption(
      "sysctls",
      given,
      "it is a setting of the whole machine: a container can have net.*, fs.mqueue.* and " +
        `${[...OF_IPC].join(", ")}`,
    );
}

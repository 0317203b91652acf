import type { ContainerInfo } from "../containers/container-info.js";
import { ContainerdError } from "../errors/containerd-error.js";
import { text, whole } from "../options/option-checks.js";

const portText = text('a port like 80, "80/tcp" or "53/udp"', (value) => /^\d{1,5}(\/(tcp|udp))?$/.test(value));

/** `80` or `"53/udp"` in parts. @throws TypeError, RangeError */
export function portAndProtocol(port: number | string): { port: number; protocol: string } {
  if (typeof port === "string") portText(port, "port");
  const [number, protocol = "tcp"] = String(port).split("/");
  whole("a port, 1 to 65535", 1, 65_535)(typeof port === "string" ? Number(number) : port, "port");
  return { port: Number(number), protocol };
}

/** @throws ContainerdError NOT_FOUND when nothing of the host leads to it */
export function publishedPort({ id, name, ports, status }: ContainerInfo, wanted: number | string): number {
  const { port, protocol } = portAndProtocol(wanted);
  const found = ports.find((binding) => binding.containerPort === port && binding.protocol === protocol);
  if (found !== undefined) return found.hostPort;
  const all = ports.map(({ containerPort, protocol }) => `${containerPort}/${protocol}`).join(", ");
  const why = status === "running" ? `it publishes ${all || "no ports"}` : `it is ${status}`;
  const message = `container "${name || id.slice(0, 12)}" does not publish port ${port}/${protocol}: ${why}`;
  throw new ContainerdError("NOT_FOUND", message, { containerId: id });
}

import { isAbsolute } from "node:path";
import type * as core from "../../core/engine/container-config.js";
import { refusal } from "../../core/failure/failure.js";
import type * as proto from "../../proto/containerdts/engine/v1/engine.js";
import { number, quoted } from "./fields.js";

/** Of a container's config what makes a server of it: networks, ports, restarts, health. Fields that are not asked for are not there. */
type ServerConfig = Pick<
  core.ContainerConfig,
  "network" | "ports" | "publishAll" | "egress" | "dns" | "dnsSearch" | "dnsOptions" | "restart" | "health"
>;

/** @throws Failure (invalid-argument) that quotes what is wrong */
export function serverConfigOf(message: proto.ContainerConfig): ServerConfig {
  const { ports, publishAll, egress, dns, dnsSearch, dnsOptions, restart, health } = message;
  return {
    network: networkOf(message),
    ...(ports.length > 0 && { ports: ports.map(portOf) }),
    ...(publishAll && { publishAll }),
    ...(egress !== undefined && { egress: egress.values }),
    ...(dns.length > 0 && { dns }),
    ...(dnsSearch.length > 0 && { dnsSearch }),
    ...(dnsOptions.length > 0 && { dnsOptions }),
    ...(restart !== undefined && restart.name !== "" && { restart: restartOf(restart) }),
    ...(health !== undefined && { health: healthOf(health) }),
  };
}

/** What {@link serverConfigOf} makes the same of again. */
export function serverConfigMessage(config: ServerConfig) {
  const { network, ports, publishAll, egress, dns, dnsSearch, dnsOptions, restart, health } = config;
  const time = (ms: number) => BigInt(ms);
  return {
    network: networkText(network),
    networks: network.mode === "attached" ? network.networks : [],
    ports: ports ?? [],
    publishAll: publishAll ?? false,
    egress: egress && { values: egress },
    dns: dns ?? [],
    dnsSearch: dnsSearch ?? [],
    dnsOptions: dnsOptions ?? [],
    restart,
    health: health && {
      ...health,
      interval: time(health.interval),
      timeout: time(health.timeout),
      startPeriod: time(health.startPeriod),
      startInterval: time(health.startInterval),
    },
  };
}

function networkOf({ network: text, networks }: proto.ContainerConfig): core.NetworkMode {
  if (networks.length > 0) {
    if (text !== "") throw refusal(`network ${quoted(text)}: not together with networks`);
    return { mode: "attached", networks };
  }
  if (text === "" || text === "none") return { mode: "none" };
  if (text === "host") return { mode: "host" };
  const path = /^path:(.*)$/s.exec(text)?.[1];
  if (path !== undefined) {
    if (!isAbsolute(path)) throw refusal(`network ${quoted(text)}: the path has to be absolute`);
    return { mode: "path", path };
  }
  const container = /^container:(.+)$/s.exec(text)?.[1];
  if (container !== undefined) return { mode: "container", container };
  throw refusal(`network ${quoted(text)}: "none", "host", "container:ID" or "path:/PATH"; others are in networks`);
}

function networkText(mode: core.NetworkMode): string {
  if (mode.mode === "container") return `container:${mode.container}`;
  if (mode.mode === "path") return `path:${mode.path}`;
  return mode.mode === "attached" ? "" : mode.mode;
}

function portOf(message: proto.PortMapping): core.PortMapping {
  const { protocol } = message;
  if (protocol !== "" && protocol !== "tcp" && protocol !== "udp")
    throw refusal(`port ${message.containerPort}/${protocol.slice(0, 20)}: the protocol is "tcp" or "udp"`);
  return { ...message, protocol: protocol || "tcp" };
}

const RESTARTS = ["no", "on-failure", "always", "unless-stopped"] as const;

/** @throws Failure (invalid-argument) */
export function restartOf({ name, maxRetries }: proto.RestartPolicy): core.RestartPolicy {
  const known = RESTARTS.find((policy) => policy === (name || "no"));
  if (known === undefined) {
    const all = RESTARTS.map((policy) => `"${policy}"`).join(", ");
    throw refusal(`restart policy ${quoted(name)}: it is one of ${all}`);
  }
  return { name: known, maxRetries };
}

function healthOf({ test, retries, ...times }: proto.HealthCheck): core.HealthCheck {
  return {
    test,
    retries,
    interval: number("interval of the health check", times.interval),
    timeout: number("timeout of the health check", times.timeout),
    startPeriod: number("start_period of the health check", times.startPeriod),
    startInterval: number("start_interval of the health check", times.startInterval),
  };
}

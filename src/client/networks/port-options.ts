import { isIP } from "node:net";
import type { PortMapping as PortMessage } from "../../proto/containerdts/engine/v1/engine.js";
import {
  type Check,
  type Checks,
  checkOptions,
  oneOf,
  required,
  text,
  whole,
  wrong,
} from "../options/option-checks.js";

/** A port of a container that can be reached at one of the host's. */
export interface PortMapping {
  /** In the container. */
  container: number;
  /** On the host; 0 has the daemon choose one; "8000-8010": the first of these that is free. Default: 0. */
  host?: number | `${number}-${number}` | undefined;
  /** Which of the host's addresses. Default: all of them. */
  hostAddress?: string | undefined;
  /** Default: "tcp". */
  protocol?: "tcp" | "udp" | undefined;
}

/**
 * As with `docker run --publish`: "80", "8080:80", "127.0.0.1:8080:80", "127.0.0.1::80/udp", "8000-8010:80" (the first of them that is
 * free), "8000-8010:9000-9010" (each to its own); or an object; or the container's port alone, whose port on the host the daemon chooses.
 */
export type PortOption = string | number | PortMapping;

const FORMS = '"8080:80", "127.0.0.1::80/udp", "8000-8010:80", a number, or { container, host, hostAddress, protocol }';

const isPort = (value: number) => Number.isInteger(value) && value >= 1 && value <= 65_535;

const mappingChecks: Checks<PortMapping> = {
  container: required(whole("a port, 1 to 65535", 1, 65_535)),
  host: (value, name) => {
    if (typeof value === "string") {
      if (rangeOf(value) === undefined) throw wrong(name, 'a port, 0 to 65535, or a range like "8000-8010"', value);
    } else whole('a port, 0 to 65535, or a range like "8000-8010"', 0, 65_535)(value, name);
  },
  hostAddress: text("an address of the host", (value) => isIP(value) !== 0),
  protocol: oneOf("tcp", "udp"),
};

export const portCheck: Check = (value, name) => {
  if (typeof value === "number") whole("a port, 1 to 65535", 1, 65_535)(value, name);
  else if (typeof value === "string") portMessages(value, name);
  else if (typeof value === "object" && value !== null && !Array.isArray(value))
    checkOptions<PortMapping>(value, mappingChecks, name);
  else throw wrong(name, FORMS, value);
};

/**
 * What the daemon is told of it: of a range to a range, one each.
 * @throws TypeError that quotes it, and says what is wrong
 */
export function portMessages(given: PortOption, name = "port"): PortMessage[] {
  if (typeof given === "string") return parsed(given, name);
  if (typeof given === "number") return [{ ...NONE, containerPort: given }];
  const { container: containerPort, host = 0, hostAddress = "", protocol = "tcp" } = given;
  const [hostPort, hostPortEnd] = typeof host === "string" ? rangeOf(host)! : [host, 0];
  return [{ protocol, containerPort, hostAddress, hostPort, hostPortEnd: hostPortEnd === hostPort ? 0 : hostPortEnd }];
}

const NONE = { protocol: "tcp", hostAddress: "", hostPort: 0, hostPortEnd: 0 };

function parsed(text: string, name: string): PortMessage[] {
  const failed = (why = FORMS) => wrong(name, why, text);
  const [rest = "", protocol = "tcp", ...more] = text.split("/");
  if (more.length > 0) throw failed();
  if (protocol !== "tcp" && protocol !== "udp") throw failed('a port of "tcp" or "udp"');
  // An IPv6 address stands in brackets.
  const parts = /^(?:(?:\[(?<six>[^\]]*)\]|(?<four>[^:[\]]*)):)?(?:(?<host>[\d-]*):)?(?<container>[\d-]+)$/.exec(rest);
  let { six, four, host, container } = (parts?.groups ?? {}) as Record<string, string | undefined>;
  // Of two parts the first one is a port.
  if (host === undefined && four !== undefined) {
    host = four;
    four = undefined;
  }
  const inside = rangeOf(container ?? "");
  if (inside === undefined) throw failed(parts === null ? FORMS : "a port from 1 to 65535, or a range that grows");
  const hostAddress = six ?? four ?? "";
  if (hostAddress !== "" && isIP(hostAddress) === 0) throw failed("a port with an address of the host's in numbers");
  if (host === undefined && six !== undefined) throw failed();
  const outside = host === undefined || host === "" || host === "0" ? undefined : rangeOf(host);
  if (outside === undefined && host !== undefined && host !== "" && host !== "0")
    throw failed("a port from 1 to 65535, or a range that grows");
  const [first, last] = inside;
  const count = last - first + 1;
  if (outside !== undefined && count > 1 && outside[1] - outside[0] + 1 !== count)
    throw failed("ranges of the same length");
  return Array.from({ length: count }, (_, index) => {
    const containerPort = first + index;
    if (outside === undefined) return { ...NONE, protocol, hostAddress, containerPort };
    const isChosen = count === 1 && outside[1] > outside[0];
    const hostPort = outside[0] + index;
    return { protocol, containerPort, hostAddress, hostPort, hostPortEnd: isChosen ? outside[1] : 0 };
  });
}

/** Of `80` or `8000-8010`; undefined for what is neither. */
function rangeOf(text: string): [first: number, last: number] | undefined {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text);
  if (match === null) return undefined;
  const first = Number(match[1]);
  const last = Number(match[2] ?? match[1]);
  return isPort(first) && isPort(last) && last >= first ? [first, last] : undefined;
}

import { setImmediate } from "node:timers/promises";
import { printable } from "../../contract/terminal/printable.js";
import { abortable, limitedBy } from "../abortable.js";
import type { Container } from "../containers/container.js";
import type { ContainerInfo } from "../containers/container-info.js";
import { ContainerdError } from "../errors/containerd-error.js";
import { portAndProtocol } from "../networks/published-port.js";
import { pause } from "../options/duration.js";
import { probe } from "./http-probe.js";
import { accepts, type HostPort, isLoopback, listenersInside, reachedAt } from "./reached.js";
import type { WaitFor, WaitForHttp, WaitForLog, WaitForOptions, WaitStrategy } from "./wait-options.js";

/** In ms. */
const DEFAULT_TIMEOUT = 60_000;
/** In ms: between two looks, at first and at most. A server is ready soon or late: what takes long is looked at less often. */
const PAUSE = { first: 25, longest: 250 };
/** Of the last lines of the log that an error shows. */
const SHOWN_LINES = 20;
/** In ms. */
const SHOWN_TIMEOUT = 2_000;

/** That a container was not ready in time, or has ended before. */
export class NotReadyError extends ContainerdError {
  override name = "NotReadyError";
  /** What it has printed last: 20 lines at most. */
  readonly lastLines: readonly string[];

  constructor(
    code: "DEADLINE_EXCEEDED" | "FAILED_PRECONDITION",
    message: string,
    id: string,
    lastLines: readonly string[],
  ) {
    const shown = lastLines.map((line) => `\n  ${printable(line)}`).join("");
    super(code, lastLines.length === 0 ? message : `${message}; it has printed last:${shown}`, { containerId: id });
    this.lastLines = lastLines;
  }
}

/** Of a wait that is under way. */
interface Waiting {
  container: Container;
  /** Where the daemon is; undefined: here. */
  daemonHost: string | undefined;
  signal: AbortSignal;
  /** Why each of the strategies is still waiting. */
  reasons: Map<WaitStrategy, string>;
  /** Ends of logs that are read. */
  reading: Set<Promise<unknown>>;
}

/** {@link Container.waitFor}; options were looked at. */
export async function waitFor(
  container: Container,
  what: WaitFor,
  { timeout = DEFAULT_TIMEOUT, signal: given }: WaitForOptions,
  daemonHost: string | undefined,
): Promise<void> {
  const late = new Late();
  const { signal, forget } = limitedBy({ signal: given, timeout }, () => late);
  const settled = new AbortController();
  const waiting: Waiting = {
    ...{ container, daemonHost, reasons: new Map(), reading: new Set() },
    signal: AbortSignal.any([signal, settled.signal]),
  };
  const name = container.info?.name || container.id.slice(0, 12);
  try {
    const ready = ofAll([what].flat() as WaitStrategy[], waiting);
    // An end that nobody waits for any more.
    ready.catch(() => {});
    const ended = endOf(waiting).then(async (status) => {
      // What it has printed last may be what is waited for.
      await Promise.allSettled(waiting.reading);
      await setImmediate();
      throw new Ended(status);
    });
    ended.catch(() => {});
    await abortable(Promise.race([ready, ended]), waiting.signal);
  } catch (error) {
    const reasons = [...waiting.reasons.values()].join("; ");
    settled.abort();
    if (error instanceof Ended)
      throw new NotReadyError(
        "FAILED_PRECONDITION",
        `container "${name}" has ended with status ${error.status} before it was ready`,
        container.id,
        await lastLines(container),
      );
    if (error !== late) throw error;
    const message = `container "${name}" was not ready within ${timeout} ms${reasons && `: ${reasons}`}`;
    throw new NotReadyError("DEADLINE_EXCEEDED", message, container.id, await lastLines(container));
  } finally {
    settled.abort();
    forget();
  }
}

class Late extends Error {}

class Ended extends Error {
  constructor(readonly status: number) {
    super("ended");
  }
}

/** Resolves when it has ended for good: what is restarted may still become ready. */
async function endOf({ container, signal }: Waiting): Promise<number> {
  for (;;) {
    const { status } = await container.wait({ signal });
    if ((await container.inspect({ signal })).status === "stopped") return status;
    await pause(PAUSE.longest, signal);
  }
}

async function lastLines(container: Container): Promise<string[]> {
  const lines: string[] = [];
  try {
    for await (const { line } of container.logs({ tail: SHOWN_LINES, timeout: SHOWN_TIMEOUT })) lines.push(line);
  } catch {
    // It has none, or is gone.
  }
  return lines;
}

async function ofAll(strategies: readonly WaitStrategy[], waiting: Waiting): Promise<void> {
  await Promise.all(strategies.map((strategy) => until(strategy, waiting)));
}

async function ofAny(strategies: readonly WaitStrategy[], waiting: Waiting): Promise<void> {
  const settled = new AbortController();
  const signal = AbortSignal.any([waiting.signal, settled.signal]);
  try {
    await Promise.any(strategies.map((strategy) => until(strategy, { ...waiting, signal })));
  } catch (error) {
    throw error instanceof AggregateError ? error.errors[0] : error;
  } finally {
    settled.abort();
  }
}

async function until(strategy: WaitStrategy, waiting: Waiting): Promise<void> {
  if (typeof strategy === "object" && "all" in strategy) return await ofAll(strategy.all, waiting);
  if (typeof strategy === "object" && "any" in strategy) return await ofAny(strategy.any, waiting);
  if (typeof strategy === "object" && "log" in strategy) return await untilPrinted(strategy, waiting);
  const { container, signal, reasons } = waiting;
  for (let ms = PAUSE.first; ; ms = Math.min(ms * 1.3, PAUSE.longest)) {
    const info = await container.inspect({ signal });
    const reason = info.pid === 0 ? `it is ${info.status}` : await whyNot(strategy, info, waiting);
    if (reason === undefined) break;
    reasons.set(strategy, reason);
    await pause(ms, signal);
  }
  reasons.delete(strategy);
}

/** @returns undefined when it is ready */
async function whyNot(
  strategy: Exclude<WaitStrategy, WaitForLog | { all: unknown } | { any: unknown }>,
  info: ContainerInfo,
  { container, daemonHost, signal }: Waiting,
): Promise<string | undefined> {
  if (strategy === "health") return whyNotHealthy(info);
  if (strategy === "ports") {
    const ports = info.ports.filter(({ protocol }) => protocol === "tcp").map(({ containerPort }) => containerPort);
    if (ports.length === 0) throw refused(info, 'it publishes no port over TCP that "ports" could wait for');
    const all = await Promise.all(ports.map((port) => whyNotListening(port, info, daemonHost, signal)));
    return all.find((reason) => reason !== undefined);
  }
  if ("http" in strategy) return await probe(strategy, placeOf(strategy, info, daemonHost), signal);
  if ("port" in strategy) return await whyNotListening(strategy.port, info, daemonHost, signal);
  const { status } = await container.exec(strategy.command, { signal });
  return status === 0 ? undefined : `${JSON.stringify(strategy.command[0])} ends with status ${status}`;
}

function refused({ id, name }: ContainerInfo, why: string): ContainerdError {
  const message = `container "${name || id.slice(0, 12)}": ${why}`;
  return new ContainerdError("FAILED_PRECONDITION", message, { containerId: id });
}

function whyNotHealthy(info: ContainerInfo): string | undefined {
  const { health } = info;
  if (health === undefined) throw refused(info, 'it has no health check that "health" could wait for');
  if (health.status === "healthy") return undefined;
  const last = health.results.at(-1);
  const output = last?.output.trim().slice(-200);
  if (health.status === "unhealthy")
    throw refused(
      info,
      `it is unhealthy${last ? `: its check ends with status ${last.status}, ${JSON.stringify(output)}` : ""}`,
    );
  return `its health is "${health.status}"`;
}

async function whyNotListening(
  wanted: number | string,
  info: ContainerInfo,
  daemonHost: string | undefined,
  signal: AbortSignal,
): Promise<string | undefined> {
  const at = portAndProtocol(wanted);
  const inside = daemonHost === undefined ? await listenersInside(info, at) : undefined;
  if (inside?.length === 0) return `nothing listens on port ${at.port}/${at.protocol} in it`;
  const outside = at.protocol === "tcp" ? reachedAt(info, at, daemonHost) : undefined;
  if (outside === undefined) {
    if (inside !== undefined) return undefined;
    throw refused(
      info,
      `whether something listens on port ${at.port}/${at.protocol} can't be seen from here: publish it, or wait for the log`,
    );
  }
  if (await accepts(outside, signal)) return undefined;
  const where = `${outside.host}:${outside.port}`;
  return inside?.every(isLoopback)
    ? `port ${at.port} is listened on at the container's own 127.0.0.1 only: nobody else gets there`
    : `port ${at.port} is not reached at ${where}`;
}

function placeOf({ port }: WaitForHttp, info: ContainerInfo, daemonHost: string | undefined): HostPort {
  const published = [
    ...new Set(info.ports.filter(({ protocol }) => protocol === "tcp").map((one) => one.containerPort)),
  ];
  if (port === undefined && published.length !== 1)
    throw refused(info, "which port is to be asked over HTTP has to be said");
  const wanted = port ?? published[0]!;
  const at = reachedAt(info, { port: wanted, protocol: "tcp" }, daemonHost);
  if (at === undefined) throw refused(info, `port ${wanted} can't be asked over HTTP from here: it is not published`);
  return at;
}

async function untilPrinted(strategy: WaitForLog, { container, signal, reasons, reading }: Waiting): Promise<void> {
  const { log, times = 1 } = strategy;
  const isIn = (line: string) => (typeof log === "string" ? line.includes(log) : line.search(log) !== -1);
  const what = typeof log === "string" ? JSON.stringify(log) : String(log);
  const read = async () => {
    let seen = 0;
    reasons.set(strategy, `it has not printed ${what}`);
    for await (const { line } of container.logs({ follow: true, signal })) {
      if (!isIn(line)) continue;
      if (++seen === times) return true;
      reasons.set(strategy, `it has printed ${what} ${seen} of ${times} times`);
    }
    return false;
  };
  for (;;) {
    const reader = read();
    reading.add(reader);
    try {
      if (await reader) break;
    } finally {
      reading.delete(reader);
    }
    // It has stopped; its policy may start it again, and then all of its log is looked at again.
    await pause(PAUSE.longest, signal);
  }
  reasons.delete(strategy);
}

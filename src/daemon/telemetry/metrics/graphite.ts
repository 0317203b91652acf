import { connect, type Socket } from "node:net";
import type { Tasks } from "../../../core/tasks/tasks.js";
import { errorText } from "../../../system/linux/libc.js";
import { type Figures, PERCENTILES, readFigures } from "./figures.js";

/** As the original's. */
const PREFIX = "metrics";
const NANOSECONDS_PER_MS = 1e6;

/** Where Graphite takes its plaintext protocol. */
export interface GraphiteAddress {
  host: string;
  port: number;
}

/** @throws Error for a text that is no `host:port` (the host of an IPv6 address in brackets) */
export function parseGraphiteAddress(text: string): GraphiteAddress {
  const [, bracketed, plain, digits] = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  const port = Number(digits);
  if (host === undefined || port < 1 || port > 65_535)
    throw new Error(`--graphite-address ${text}: expected host:port`);
  return { host, port };
}

/**
 * The metrics in Graphite's plaintext protocol: `<path> <value> <time>` in lines. The paths and units (durations in nanoseconds) are the
 * original's, whose dashboards go on to work.
 * @param time seconds since the epoch
 */
export function graphiteLines({ counters, gauges, timers }: Figures, time: number): string {
  const lines: string[] = [];
  const add = (path: string, value: number) => lines.push(`${PREFIX}.${path} ${decimal(value)} ${time}\n`);
  for (const [name, value] of Object.entries(counters)) add(`${name}.count`, value);
  for (const [name, value] of Object.entries(gauges)) add(`${name}.value`, value);
  for (const [name, summary] of Object.entries(timers)) {
    const duration = (field: string, value: number) => add(`${name}.${field}`, Math.round(value * NANOSECONDS_PER_MS));
    add(`${name}.count`, summary.count);
    duration("min", summary.min);
    duration("max", summary.max);
    duration("mean", summary.mean);
    duration("std-dev", summary.standardDeviation);
    for (const [field, part] of PERCENTILES) duration(field, summary.percentile(part));
  }
  return lines.join("");
}

/** JavaScript writes 1e+21 and the like, which the protocol's readers need not understand. */
function decimal(value: number): string {
  return Number.isInteger(value) ? BigInt(value).toString() : value.toFixed(6);
}

/**
 * Sends all metrics to Graphite, again and again. A connection of its own for each sample: a server that was restarted is found again by
 * itself, and one that does not read costs no more than one sample, which is dropped when the next one is due.
 * @param interval in ms
 * @returns ends it
 */
export function sendToGraphite(tasks: Tasks, address: GraphiteAddress, interval: number): () => void {
  const { log } = tasks;
  let socket: Socket | undefined;
  let failing = false;
  let closed = false;
  const fail = (error: string) => {
    // Once, not every ten seconds for as long as it is away.
    if (!failing) log.warn({ ...address, error }, "containerd: graphite can't be reached");
    failing = true;
  };
  const send = async () => {
    if (socket !== undefined) {
      fail("the last sample could not be sent in time");
      socket.destroy();
      socket = undefined;
    }
    const lines = graphiteLines(await readFigures(tasks), Math.floor(Date.now() / 1000));
    if (closed) return;
    const sending = connect(address);
    socket = sending;
    sending.unref();
    sending.on("error", (error) => fail(errorText(error)));
    sending.on("close", (hadError) => {
      if (socket !== sending) return;
      socket = undefined;
      if (hadError) return;
      if (failing) log.info(address, "containerd: graphite is reached again");
      failing = false;
    });
    // It has nothing to say to us; without reading, its end would go unseen.
    sending.resume();
    sending.end(lines);
  };
  const timer = setInterval(() => void send(), interval);
  timer.unref();
  return () => {
    closed = true;
    clearInterval(timer);
    socket?.destroy();
  };
}

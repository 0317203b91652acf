import type { Tasks } from "../../core/tasks/tasks.js";
import type { Flags } from "../flags.js";
import { listenHttp } from "../listen/http-listener.js";
import { debugEndpoint } from "./debug/debug-endpoint.js";
import type { LogOutput } from "./log-output.js";
import { parseGraphiteAddress, sendToGraphite } from "./metrics/graphite.js";
import { metricsEndpoint } from "./metrics/metrics-endpoint.js";
import { logMetrics } from "./metrics/metrics-log.js";

/** In ms: how often Graphite gets a sample unless metrics are logged more often; the original's interval. */
const GRAPHITE_INTERVAL = 10_000;

/**
 * Starts what the flags ask for of metrics and debugging.
 * @returns ends it all
 * @throws Error for an address that makes no sense or is not safe; nothing is started then
 */
export async function startDiagnostics(flags: Flags, tasks: Tasks, logOutput: LogOutput): Promise<() => void> {
  const { metricsInterval, graphiteAddress, metricsAddress, pprofAddress } = flags;
  const { insecureDebug: insecure, group } = flags;
  const { log } = tasks;
  const ends: (() => void)[] = [];
  const end = () => {
    for (const each of ends) each();
  };
  try {
    if (metricsInterval > 0) ends.push(logMetrics(tasks, metricsInterval));
    if (graphiteAddress !== "") {
      const interval = metricsInterval > 0 ? Math.min(metricsInterval, GRAPHITE_INTERVAL) : GRAPHITE_INTERVAL;
      ends.push(sendToGraphite(tasks, parseGraphiteAddress(graphiteAddress), interval));
    }
    if (metricsAddress !== "") {
      const handle = await metricsEndpoint(tasks, logOutput, flags.containerMetrics);
      ends.push(await listenHttp({ flag: "--metrics-address", address: metricsAddress, insecure, group, log }, handle));
    }
    if (pprofAddress !== "") {
      // Not for the group: it may use the API, but a heap snapshot is the daemon's own.
      const handle = debugEndpoint(insecure);
      ends.push(await listenHttp({ flag: "--pprof-address", address: pprofAddress, insecure, log }, handle));
    }
    return end;
  } catch (error) {
    end();
    throw error;
  }
}

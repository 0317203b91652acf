import type { Tasks } from "../../../core/tasks/tasks.js";
import { answer, type HttpHandler } from "../../listen/http-listener.js";
import type { LogOutput } from "../log-output.js";

/**
 * What Prometheus scrapes: `/metrics`.
 * @param perContainer what each container uses, too
 */
export async function metricsEndpoint(tasks: Tasks, logOutput: LogOutput, perContainer: boolean): Promise<HttpHandler> {
  // Loaded here, so that a daemon without Prometheus starts without it.
  const { prometheusRegistry } = await import("./prometheus.js");
  const registry = prometheusRegistry(tasks, logOutput);
  const sampleContainers = perContainer
    ? (await import("./container-metrics.js")).addContainerMetrics(registry, tasks)
    : async () => {};
  return async (request, response) => {
    if (new URL(request.url ?? "/", "http://localhost").pathname !== "/metrics") {
      answer(response, 404, "metrics are at /metrics\n");
      return;
    }
    await sampleContainers();
    const text = await registry.metrics();
    response.setHeader("content-type", registry.contentType);
    response.end(text);
  };
}

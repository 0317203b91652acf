import { secondsAndNanos } from "../../../contract/go/rfc3339.js";
import { logText } from "../../../core/failure/log-text.js";
import { stats } from "../../../core/tasks/operations/stats.js";
import type { Task } from "../../../core/tasks/task.js";
import type { MetricsRequest, MetricsResponse } from "../../../proto/containerd/services/tasks/v1/tasks.js";
import type { Any } from "../../../proto/google/protobuf/any.js";
import { Metrics as MetricsV1 } from "../../../proto/io/containerd/cgroups/v1/metrics.js";
import { Metrics as MetricsV2 } from "../../../proto/io/containerd/cgroups/v2/metrics.js";
import type { CgroupStats } from "../../../system/cgroup/stats.js";
import { type Field, filtered } from "../filters/filter.js";
import type { NamespacedCall } from "../front.js";
import type { TaskCalls } from "../tasks.js";
import { metricsV1 } from "./cgroup-v1-metrics.js";
import { metricsV2 } from "./cgroup-v2-metrics.js";

type Metric = MetricsResponse["metrics"][number];

/** What the tasks use that there are. One that ends meanwhile, or can't be asked, is left out. */
export async function metrics(
  { tasks }: TaskCalls,
  { request, namespace, signal }: NamespacedCall<MetricsRequest>,
): Promise<MetricsResponse> {
  const asked = await filtered(tasks.list(namespace), request.filters, fieldOf);
  const found: Metric[] = [];
  for (const task of asked) {
    signal.throwIfAborted();
    if (task.status === "stopped") continue;
    const { id } = task;
    try {
      const { cgroup, timestamp } = await stats(tasks, { namespace, id }, signal);
      found.push({ timestamp: secondsAndNanos(timestamp), id, data: dataOf(cgroup) });
    } catch (error) {
      tasks.log.debug({ id, error: logText(error) }, "containerd: metrics of a task");
    }
  }
  return { metrics: found };
}

function fieldOf({ id, namespace }: Task): Field {
  return ([name]) => (name === "id" ? id : name === "namespace" ? namespace : undefined);
}

function dataOf(cgroup: CgroupStats): Any {
  const [version, bytes] =
    cgroup.version === 2
      ? ["v2", MetricsV2.encode(metricsV2(cgroup)).finish()]
      : ["v1", MetricsV1.encode(metricsV1(cgroup)).finish()];
  return { typeUrl: `io.containerd.cgroups.${version}.Metrics`, value: Buffer.from(bytes) };
}

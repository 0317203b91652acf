import { statSync } from "node:fs";
import { Failure } from "../../core/failure/failure.js";
import type { Identity } from "../../core/metadata/identity.js";
import { SNAPSHOTTER } from "../../core/snapshots/snapshots.js";
import {
  type IntrospectionServer,
  IntrospectionService,
  type Plugin,
} from "../../proto/containerd/services/introspection/v1/introspection.js";
import type { GrpcService } from "../grpc/server.js";
import { type Field, filtered, present } from "./filters/filter.js";
import type { FrontV1 } from "./front.js";

/** As Go names this machine's architecture. */
const ARCHITECTURE = { x64: "amd64", ia32: "386" }[process.arch as string] ?? process.arch;

const HERE = { os: "linux", architecture: ARCHITECTURE, variant: "", osVersion: "", osFeatures: [] };

/**
 * What this daemon has, as clients of containerd look for it.
 * @param services the services of the API, this one apart
 */
export function introspectionService(
  front: FrontV1,
  identity: Identity,
  services: readonly GrpcService[],
): GrpcService {
  const implementation: IntrospectionServer = {
    plugins: front.general(async ({ request }) => ({
      plugins: await filtered(plugins(services), request.filters, fieldOf),
    })),
    pluginInfo: front.general(({ request: { type, id } }) => {
      const found = plugins(services).find((one) => one.type === type && one.id === id);
      if (found === undefined) throw new Failure("not-found", "refused", { why: `plugin ${type}.${id}` });
      return { plugin: found, extra: undefined };
    }),
    server: front.general(async () => ({
      uuid: await identity.uuid(),
      pid: BigInt(process.pid),
      pidns: statSync("/proc/self/ns/pid", { bigint: true }).ino,
      deprecations: [],
    })),
  };
  return { definition: IntrospectionService, implementation };
}

/** Services that are a plug-in each in containerd, and not two. */
const WITHOUT_BACK: ReadonlySet<string> = new Set(["version", "events", "transfer", "streaming"]);

/** What stands behind the services has the ids and types that it has in containerd, where each is a plug-in. */
function plugins(services: readonly GrpcService[]): Plugin[] {
  const names = services.map(serviceName);
  const behind = names.filter((name) => !WITHOUT_BACK.has(name));
  const has = (name: string, ...parts: Plugin[]) => (names.includes(name) ? parts : []);
  return [
    plugin("io.containerd.event.v1", "exchange"),
    plugin("io.containerd.metadata.v1", "lmdb"),
    plugin("io.containerd.gc.v1", "scheduler"),
    plugin("io.containerd.lease.v1", "manager"),
    ...has("content", plugin("io.containerd.content.v1", "content")),
    ...has("snapshots", { ...plugin("io.containerd.snapshotter.v1", SNAPSHOTTER), platforms: [HERE] }),
    ...has("diff", { ...plugin("io.containerd.differ.v1", "walking"), platforms: [HERE] }),
    ...has("transfer", { ...plugin("io.containerd.transfer.v1", "local"), platforms: [HERE] }),
    ...has("streaming", plugin("io.containerd.streaming.v1", "manager")),
    ...has("tasks", { ...plugin("io.containerd.runtime.v2", "task"), platforms: [HERE] }),
    ...[...behind, "introspection"].map((name) => plugin("io.containerd.service.v1", `${name}-service`)),
    ...[...names, "introspection", "healthcheck"].map((name) => plugin("io.containerd.grpc.v1", name)),
  ];
}

/** The `tasks` of `/containerd.services.tasks.v1.Tasks/Get`. */
function serviceName({ definition }: GrpcService): string {
  const [method] = Object.values(definition);
  return /^\/containerd\.services\.(\w+)\./.exec(method!.path)![1]!;
}

function plugin(type: string, id: string): Plugin {
  return { type, id, requires: [], platforms: [], exports: {}, capabilities: [], initErr: undefined };
}

function fieldOf({ type, id }: Plugin): Field {
  return ([name]) => (name === "type" ? present(type) : name === "id" ? present(id) : undefined);
}

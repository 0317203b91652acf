import { randomBytes } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import { checkTime } from "../../core/engine/check-time.js";
import type { Engine } from "../../core/engine/engine.js";
import type { EngineContainer } from "../../core/engine/engine-container.js";
import { rename, update } from "../../core/engine/operations/change.js";
import { checkpoint } from "../../core/engine/operations/checkpoint.js";
import { create, run } from "../../core/engine/operations/create.js";
import { describe, list } from "../../core/engine/operations/describe.js";
import { waitForExec } from "../../core/engine/operations/exec.js";
import { changeTimeToLive } from "../../core/engine/operations/expire.js";
import { type ForkRequest, fork } from "../../core/engine/operations/fork.js";
import { pauseForUser } from "../../core/engine/operations/hold-still.js";
import { kill } from "../../core/engine/operations/kill.js";
import { pause } from "../../core/engine/operations/pause.js";
import { prune } from "../../core/engine/operations/prune.js";
import { removeNow } from "../../core/engine/operations/remove.js";
import type { CreateRequest } from "../../core/engine/operations/requests.js";
import { restart } from "../../core/engine/operations/restart.js";
import { runningTask } from "../../core/engine/operations/running.js";
import { start } from "../../core/engine/operations/start.js";
import { stop } from "../../core/engine/operations/stop.js";
import { wait } from "../../core/engine/operations/wait.js";
import { refusal } from "../../core/failure/failure.js";
import { pidsOf } from "../../core/tasks/operations/state.js";
import { stats } from "../../core/tasks/operations/stats.js";
import type { Stdio } from "../../core/tasks/process.js";
import {
  type CheckpointRequest,
  ContainerConfig as ConfigMessage,
  type CreateRequest as CreateMessage,
  type EngineServer,
  type ForkRequest as ForkMessage,
  type Stdio as StdioMessage,
  type WaitRequest,
} from "../../proto/containerdts/engine/v1/engine.js";
import { callerProcess } from "../grpc/peer.js";
import { configOf, resourcesOf } from "./container-config.js";
import { containerMessage, execExitMessage, exitMessage } from "./container-message.js";
import type { EngineCall, EngineFront } from "./front.js";
import { restartOf } from "./server-config.js";
import { statsMessage } from "./stats.js";

type Served =
  | (
      | "create"
      | "fork"
      | "run"
      | "start"
      | "wait"
      | "get"
      | "list"
      | "stop"
      | "kill"
      | "remove"
      | "restart"
      | "pause"
      | "resume"
    )
  | ("checkpoint" | "update" | "rename" | "prune" | "stats" | "top");

/** The calls about containers as a whole. */
export function containerCalls(front: EngineFront, engine: Engine): Pick<EngineServer, Served> {
  return {
    create: front.call(async (call: EngineCall<CreateMessage>) => {
      const { id } = await create(engine, requestOf(call, call.request), call.signal);
      return { id, warnings: [] };
    }),
    fork: front.call(async (call: EngineCall<ForkMessage>) => {
      const { run } = call.request;
      const container = await fork(engine, forkOf(call), run && stdioOf(run), call.signal);
      return { id: container.id, pid: run === undefined ? 0 : pidOf(engine, container), warnings: [] };
    }),
    run: front.call(async (call) => {
      const { request, signal } = call;
      if (request.create === undefined) throw refusal("run: what is to be created is not given");
      const container = await run(engine, requestOf(call, request.create), stdioOf(request.stdio), signal);
      return { id: container.id, pid: pidOf(engine, container), warnings: [] };
    }),
    start: front.about(async (container, { request, signal }) => {
      const { startId, checkpoint } = request;
      const init = await start(engine, container, { stdio: stdioOf(request.stdio), startId, checkpoint }, signal);
      return { id: container.id, pid: init?.systemPid ?? 0 };
    }),
    wait: front.call(async ({ namespace, request, signal }: EngineCall<WaitRequest>) => {
      const { id, execId } = request;
      const expired = engine.endOfExpired(namespace, id);
      if (expired !== undefined) return exitMessage(expired);
      const container = await engine.find(namespace, id, signal);
      if (execId === "") return exitMessage(await wait(engine, container, signal));
      return execExitMessage(await waitForExec(engine, container, execId, signal));
    }),
    get: front.about(async (container) => containerMessage(await describe(engine, container))),
    list: front.call(async ({ namespace, request }) => ({
      containers: (await list(engine, namespace, request)).map(containerMessage),
    })),
    stop: front.about(async (container, call) => {
      const { grace, signal } = call.request;
      return exitMessage(await stop(engine, container, { grace: optionalMs(grace), signal }, call.signal));
    }),
    kill: front.about(async (container, { request }) => {
      await kill(engine, container, request);
      return {};
    }),
    restart: front.about(async (container, { request: { grace, stdio, startId }, signal }) => {
      const request = { grace: optionalMs(grace), signal: "", stdio: stdioOf(stdio), startId, checkpoint: "" };
      const init = await restart(engine, container, request, signal);
      return { id: container.id, pid: init?.systemPid ?? 0 };
    }),
    pause: front.about(async (container, { signal }) => {
      await pauseForUser(engine, container, signal);
      return {};
    }),
    resume: front.about(async (container, { request: { ttl }, signal }) => {
      if (ttl !== undefined) checkTime("ttl", Number(ttl));
      const resumed = pause(engine, container, "resume", signal);
      // Both at once: the one waits for the disk.
      await Promise.all([resumed, ttl !== undefined && changeTimeToLive(engine, container, Number(ttl))]);
      return {};
    }),
    update: front.about(async (container, { request, signal }) => {
      const { resources, lifetime, ttl, restart } = request;
      const changes = {
        resources: resourcesOf(resources),
        lifetime: optionalMs(lifetime),
        ttl: optionalMs(ttl),
        restart: restart && restartOf(restart),
      };
      await update(engine, container, changes, signal);
      return {};
    }),
    checkpoint: front.about(async (container, { request, signal }: EngineCall<CheckpointRequest>) => {
      const { ref, leaveRunning, tcpEstablished: tcp, unixSockets, terminal: shell } = request;
      if (request.fileLocks) throw refusal("file_locks: they can't be saved yet");
      await checkpoint(engine, container, { ref, leaveRunning, tcp, unixSockets, shell }, signal);
      return {};
    }),
    rename: front.about(async (container, { request }) => {
      await rename(engine, container, request.name);
      return {};
    }),
    prune: front.call(async ({ namespace, request, signal }) => {
      const { ids, freed } = await prune(engine, namespace, request.labels, signal);
      return { ids, freed: BigInt(freed) };
    }),
    stats: front.about(async (container, { signal }) => {
      runningTask(engine, container);
      return statsMessage(await stats(engine.tasks, container, signal));
    }),
    top: front.about(async (container) => ({ pids: await pidsOf(runningTask(engine, container)) })),
    remove: front.about(async (container, { request }) => {
      await removeNow(engine, container, request.force);
      return {};
    }),
  };
}

function requestOf(call: EngineCall<object>, message: CreateMessage): CreateRequest {
  if (message.config === undefined) throw refusal("create: a container needs a config");
  return { ...wishesOf(call, message), config: configOf(message.config) };
}

function forkOf(call: EngineCall<ForkMessage>): ForkRequest {
  const { id: of, create } = call.request;
  if (create === undefined) throw refusal("fork: what is to be created is not given");
  const { labels = {}, ...config } = create.config ?? {};
  const { labels: _, ...none } = ConfigMessage.fromPartial({});
  if (create.config !== undefined && !isDeepStrictEqual(config, none))
    throw refusal("fork: the config is the source's: only labels can be others");
  return { ...wishesOf(call, create), fork: { of, labels } };
}

function wishesOf({ namespace, peer }: EngineCall<object>, message: CreateMessage) {
  const { name, owned, lifetime, ttl, autoRemove } = message;
  const owner = owned ? callerProcess(peer) : undefined;
  if (owned && owner === undefined)
    throw refusal("owned: only the daemon's own machine knows which program calls: connect to its unix socket");
  const id = message.id || randomBytes(32).toString("hex");
  return { namespace, id, name, owner, lifetime: Number(lifetime), ttl: Number(ttl), autoRemove };
}

export function stdioOf(message: StdioMessage | undefined): Stdio {
  const { stdin = "", stdout = "", stderr = "" } = message ?? {};
  return { stdin, stdout, stderr };
}

function optionalMs(value: bigint | undefined): number | undefined {
  return value === undefined ? undefined : Number(value);
}

/** On the host; 0 when it has stopped. */
function pidOf(engine: Engine, container: EngineContainer): number {
  return engine.taskOf(container)?.init?.systemPid ?? 0;
}

import { secondsAndNanos } from "../../contract/go/rfc3339.js";
import type { ContainerExit } from "../../core/engine/kept-container.js";
import type { Description } from "../../core/engine/operations/describe.js";
import type { Exit as ProcessExit } from "../../core/tasks/process.js";
import type { Container, Exit } from "../../proto/containerdts/engine/v1/engine.js";
import { configMessage } from "./container-config.js";
import { endpointMessage, portMessage } from "./network-messages.js";

export function containerMessage(description: Description): Container {
  const { container, kept, status, pid, createdAt, startedAt, exit, endsAt, expiresAt, process, execIds } = description;
  const { endpoints, publications, volumes } = description;
  const { restartCount, restartsAt, health } = description;
  const { user } = process;
  return {
    id: container.id,
    name: container.name,
    config: configMessage(kept.config),
    status,
    pid,
    createdAt: secondsAndNanos(createdAt),
    startedAt: startedAt === undefined ? undefined : secondsAndNanos(startedAt),
    exit: exit && exitMessage(exit),
    owned: kept.owner !== undefined,
    autoRemove: kept.autoRemove,
    args: process.args ?? [],
    env: process.env ?? [],
    workdir: process.cwd ?? "",
    user: `${user?.uid ?? 0}:${user?.gid ?? 0}`,
    imageDigest: kept.imageDigest,
    execIds,
    uidMap: kept.idMaps?.uids ?? [],
    gidMap: kept.idMaps?.gids ?? [],
    endsAt: endsAt === undefined ? undefined : secondsAndNanos(endsAt),
    expiresAt: expiresAt === undefined ? undefined : secondsAndNanos(expiresAt),
    endpoints: endpoints.map(({ wish, endpoint }) => endpointMessage(wish, endpoint)),
    ports: publications.map(portMessage),
    volumes: volumes.map(({ isOwn: anonymous, ...volume }) => ({ ...volume, anonymous })),
    restartCount,
    restartsAt: restartsAt === undefined ? undefined : secondsAndNanos(restartsAt),
    health: health && {
      ...health,
      results: health.results.map((result) => ({
        ...result,
        startedAt: secondsAndNanos(result.startedAt),
        endedAt: secondsAndNanos(result.endedAt),
      })),
    },
  };
}

export function exitMessage(exit: ContainerExit): Exit {
  const { status, at, oomKilled, timedOut, cpuTime, memoryPeak, error, expired = false } = exit;
  const usage = cpuTime === undefined && memoryPeak === undefined ? undefined : { cpuTime: cpuTime ?? 0n, memoryPeak };
  return { status, exitedAt: secondsAndNanos(at), oomKilled, timedOut, usage, error, expired };
}

export function execExitMessage(exit: ProcessExit & { oomKilled: boolean; timedOut: boolean; expired: boolean }): Exit {
  const { status, at, oomKilled, timedOut, expired } = exit;
  return { status, exitedAt: secondsAndNanos(at), oomKilled, timedOut, usage: undefined, error: "", expired };
}

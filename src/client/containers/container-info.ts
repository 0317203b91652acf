import type {
  Container,
  ContainerConfig,
  Endpoint,
  IdMap,
  PortBinding,
  VolumeMount,
} from "../../proto/containerdts/engine/v1/engine.js";
import { toDate } from "../timestamp.js";
import { type ContainerExit, exitOf } from "./exit.js";

export type ContainerStatus = "created" | "running" | "paused" | "restarting" | "stopped";

/** What the health check of a container says. */
export interface ContainerHealth {
  status: "starting" | "healthy" | "unhealthy";
  /** How many have failed since the last success. */
  failingStreak: number;
  /** The last five. */
  results: HealthResult[];
}

export interface HealthResult {
  startedAt: Date;
  endedAt: Date;
  /** -1 of one that took longer than its timeout, or could not be run. */
  status: number;
  /** The first 4,096 bytes. */
  output: string;
}

/** What the daemon knows of a container. */
export interface ContainerInfo {
  id: string;
  /** "" is none. */
  name: string;
  status: ContainerStatus;
  /** Of its first process on the daemon's machine; 0 when it does not run. */
  pid: number;
  /** The image's full name; "" of a root file system. */
  image: string;
  /** Of the image's manifest. */
  imageDigest: string;
  /** "" of an image. */
  rootfs: string;
  labels: Record<string, string>;
  createdAt: Date | undefined;
  startedAt: Date | undefined;
  /** How it ended last, of one that has stopped. */
  exit: ContainerExit | undefined;
  /** When it is killed, if it still runs. */
  endsAt: Date | undefined;
  /** When its time to live is over: it is removed then, whether it runs or not. */
  expiresAt: Date | undefined;
  /** Whether it ends with the program that has made it. */
  owned: boolean;
  /** Whether it is removed as soon as it has stopped. */
  autoRemove: boolean;
  /** What is run, of the image and what was asked for. */
  args: string[];
  env: string[];
  workdir: string;
  user: string;
  execIds: string[];
  /** Its networks. Addresses are those that it has while it runs, "" otherwise. */
  endpoints: Endpoint[];
  /** Published ports, of one that runs. */
  ports: PortBinding[];
  /** Those that it was asked for, and those that its image wants. */
  volumes: VolumeMount[];
  /** How often it was started by its restart policy since somebody has started it. */
  restartCount: number;
  /** When its restart policy starts it again, of one that waits for that. */
  restartsAt: Date | undefined;
  /** Of one with a health check. */
  health: ContainerHealth | undefined;
  uidMap: IdMap[];
  gidMap: IdMap[];
  /** What was asked for, as on the wire. */
  config: ContainerConfig | undefined;
}

export function infoOf(message: Container): ContainerInfo {
  const { createdAt, startedAt, exit, endsAt, expiresAt, restartsAt, health, config, ...same } = message;
  const date = (time: Parameters<typeof toDate>[0] | undefined) => time && toDate(time);
  return {
    ...same,
    status: message.status as ContainerStatus,
    image: config?.image ?? "",
    rootfs: config?.rootfs ?? "",
    labels: { ...config?.labels },
    createdAt: date(createdAt),
    startedAt: date(startedAt),
    exit: exit && exitOf(exit),
    endsAt: date(endsAt),
    expiresAt: date(expiresAt),
    restartsAt: date(restartsAt),
    health: health && healthOf(health),
    config,
  };
}

function healthOf({ status, failingStreak, results }: NonNullable<Container["health"]>): ContainerHealth {
  return {
    status: status as ContainerHealth["status"],
    failingStreak,
    results: results.map((result) => ({
      startedAt: toDate(result.startedAt!),
      endedAt: toDate(result.endedAt!),
      status: result.status,
      output: Buffer.from(result.output).toString(),
    })),
  };
}

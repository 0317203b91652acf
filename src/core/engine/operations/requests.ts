import { createHash } from "node:crypto";
import { isAbsolute } from "node:path";
import { refusal } from "../../failure/failure.js";
import { checkIdentifier } from "../../metadata/identifier.js";
import { checkLabels } from "../../metadata/labels.js";
import type { Owner } from "../../tasks/owner.js";
import { checkTime } from "../check-time.js";
import type { ContainerConfig, RestartPolicy } from "../container-config.js";
import { checkHealth } from "../health/health-check.js";
import { checkLog } from "../logs/log-limits.js";
import { checkVolumeMounts } from "../spec/volume-wishes.js";

/** What is wanted of a new container. */
export interface CreateRequest {
  namespace: string;
  /** Who repeats it after a lost connection gives the same id. */
  id: string;
  /** "" is none. */
  name: string;
  config: ContainerConfig;
  /** The program that it ends and goes with. */
  owner?: Owner | undefined;
  /** In ms from its start; 0 is none. */
  lifetime: number;
  /** In ms from now, until it is killed and removed; 0 is none. */
  ttl: number;
  autoRemove: boolean;
  /** Of one that begins with what another has in its layer. */
  fork?: ForkOf | undefined;
}

export interface ForkOf {
  /** The other one, as the request names it. */
  of: string;
  /** In place of the other one's; none are that one's. */
  labels: Readonly<Record<string, string>>;
}

/** Of other users of the daemon, whose programs take what they find there for theirs. */
const FOREIGN_NAMESPACES = new Set(["moby", "k8s.io"]);

const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/;

/** @throws Failure (invalid-argument) for what can't be a container, as far as that shows without a look at anything else */
export function checkRequest(request: CreateRequest): void {
  const { namespace, id, name, config, lifetime, ttl } = request;
  checkNamespace(namespace);
  checkIdentifier(id, "id: ");
  checkName(name);
  checkLabels(config.labels, "labels: ");
  checkTime("lifetime", lifetime);
  checkTime("ttl", ttl);
  if (config.image === "" && config.rootfs === "") throw refusal("a container needs an image or a rootfs");
  if (config.image !== "" && config.rootfs !== "") throw refusal("a container has an image or a rootfs, not both");
  if (config.rootfs !== "" && !isAbsolute(config.rootfs))
    throw refusal(`rootfs ${JSON.stringify(config.rootfs)}: not an absolute path`, "rootfs");
  if (config.writable && /[:,\\]/.test(config.rootfs))
    throw refusal(`rootfs ${JSON.stringify(config.rootfs)}: with writable there can be no ":", "," or "\\" in it`);
  if (config.log !== undefined) checkLog(config.log);
  checkVolumeMounts(config.mounts);
  if (config.health !== undefined) checkHealth(config.health);
  if (config.restart !== undefined) checkPolicy(config.restart, request);
  if (config.image !== "" && !config.writable && !config.readOnly)
    throw refusal(
      "an image's files can't be changed: choose writable, for a layer of the container's own, or readOnly",
    );
}

/** @throws Failure (invalid-argument) for a policy that a container can't have */
export function checkPolicy(
  { name, maxRetries }: RestartPolicy,
  { owner, autoRemove }: Pick<CreateRequest, "owner" | "autoRemove">,
): void {
  const policy = `restart policy "${name}"`;
  if (maxRetries > 0 && name !== "on-failure")
    throw refusal(`${policy}: only "on-failure" has a number of retries (${maxRetries})`);
  if (name === "no") return;
  if (autoRemove) throw refusal(`${policy}: not for what is removed when it has ended (auto_remove)`);
  if (owner !== undefined) throw refusal(`${policy}: not for what goes with the program that it belongs to (owned)`);
}

/** @throws Failure (invalid-argument) */
export function checkNamespace(namespace: string): void {
  checkIdentifier(namespace, "namespace: ");
  if (FOREIGN_NAMESPACES.has(namespace))
    throw refusal(`namespace ${JSON.stringify(namespace)} is other programs': choose another`);
}

/** @throws Failure (invalid-argument) */
export function checkName(name: string): void {
  if (name !== "" && !NAME.test(name))
    throw refusal(`name ${JSON.stringify(name.slice(0, 200))}: it has to match ${NAME.source}`);
}

/**
 * What tells a repeated request from another one with the same id. A fork's does not depend on its source, which may have changed, or gone,
 * since it was made.
 */
export function fingerprint({
  name,
  config,
  owner,
  lifetime,
  ttl,
  autoRemove,
  fork,
}: Omit<CreateRequest, "namespace" | "id" | "config"> & { config?: ContainerConfig | undefined }): string {
  const what = fork === undefined ? sorted(config!) : { of: fork.of, labels: inOrder(fork.labels) };
  const text = JSON.stringify([name, what, owner ?? null, lifetime, autoRemove, ...(ttl > 0 ? [ttl] : [])]);
  return createHash("sha256").update(text).digest("base64url").slice(0, 22);
}

/** The order of a map's entries is no part of it. */
function sorted(config: ContainerConfig): object {
  return { ...config, labels: inOrder(config.labels), sysctls: inOrder(config.sysctls) };
}

function inOrder(map: Readonly<Record<string, string>>): [string, string][] {
  return Object.entries(map).sort(([a], [b]) => (a < b ? -1 : 1));
}

import { ContainerConfig, type CreateRequest, type ForkRequest } from "../../proto/containerdts/engine/v1/engine.js";
import { type CallOptions, callChecks } from "../api/call-options.js";
import type { EngineApi } from "../api/engine.js";
import { positiveDuration } from "../options/duration.js";
import { anyText, type Checks, checkOptions, flag, nameText, wrong } from "../options/option-checks.js";
import { createRequest } from "./container-config.js";
import { isUnanswered, retract } from "./run.js";

export interface ForkOptions extends CallOptions {
  /** Default: none. */
  name?: string | undefined;
  /** Default: the source's. */
  labels?: Readonly<Record<string, string>> | undefined;
  /** Whether it ends and goes with this program, however that ends. Default: false. */
  owned?: boolean | undefined;
  /** Whether it is removed as soon as it has stopped. Default: false. */
  autoRemove?: boolean | undefined;
  /** Milliseconds after its start; then the daemon kills it. Default, and with Infinity: none. */
  lifetime?: number | undefined;
  /** Milliseconds from now; then the daemon kills and removes it. Default, and with Infinity: none. */
  ttl?: number | undefined;
}

const forkChecks: Checks<ForkOptions> = {
  ...callChecks,
  name: nameText,
  labels: (value, name) => {
    if (typeof value !== "object" || value === null || Array.isArray(value))
      throw wrong(name, "an object of texts", value);
    for (const [label, text] of Object.entries(value)) anyText(text, `${name}.${label}`);
  },
  owned: flag,
  autoRemove: flag,
  lifetime: positiveDuration,
  ttl: positiveDuration,
};

/** What makes a fork of a container. @throws TypeError for wrong options */
export function forkRequest(of: string, options: ForkOptions): ForkRequest & { create: CreateRequest } {
  checkOptions(options, forkChecks);
  const { name, labels, owned, autoRemove, lifetime, ttl } = options;
  const config = labels && ContainerConfig.fromPartial({ labels });
  return { id: of, create: createRequest({ name, config, owned, lifetime, ttl, autoRemove }), run: undefined };
}

/** Has a fork made, and started when its request says so; one that nobody is told of does not stay. */
export async function fork(
  api: EngineApi,
  request: ForkRequest & { create: CreateRequest },
  { signal, timeout }: CallOptions,
): Promise<{ pid: number }> {
  try {
    return await api.again((signal) => api.calls.fork(request, { signal }), { signal, timeout });
  } catch (error) {
    if (isUnanswered(error, signal ?? new AbortController().signal))
      await retract(api, request.create.id).catch(() => {});
    throw error;
  }
}

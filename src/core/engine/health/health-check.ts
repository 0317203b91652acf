import { refusal } from "../../failure/failure.js";
import { checkTime } from "../check-time.js";
import type { HealthCheck } from "../container-config.js";
import type { ImageConfig } from "../spec/image-config.js";

/** What is run in a container to see whether it works. Times are in ms. */
export interface ResolvedCheck {
  args: string[];
  /** From the end of one to the beginning of the next. */
  interval: number;
  timeout: number;
  /** From its start: what fails in that time does not count. */
  startPeriod: number;
  /** In place of the interval, in the start period. */
  startInterval: number;
  /** How many have to fail, one after the other. */
  retries: number;
}

const USUAL = { interval: 30_000, timeout: 30_000, startPeriod: 0, startInterval: 5_000, retries: 3 };
const SHELL = ["/bin/sh", "-c"];
const NS_PER_MS = 1e6;
const TIMES = ["interval", "timeout", "startPeriod", "startInterval"] as const;

/** @throws Failure (invalid-argument) for what a caller can't mean */
export function checkHealth(check: HealthCheck): void {
  for (const name of TIMES) checkTime(`${name} of the health check`, check[name]);
  const { test } = check;
  const [kind, ...args] = test;
  const isKnown =
    kind === undefined ||
    (kind === "NONE" && args.length === 0) ||
    (kind === "CMD" && args.length > 0) ||
    (kind === "CMD-SHELL" && args.length === 1);
  if (!isKnown)
    throw refusal(
      `health check ${JSON.stringify(test).slice(0, 200)}: it is ["NONE"], ["CMD", ARGUMENT…] or ["CMD-SHELL", COMMAND]`,
    );
}

/** Of the caller's wishes and the image's; undefined: there is none. */
export function resolveCheck(wish: HealthCheck | undefined, image: ImageConfig | undefined): ResolvedCheck | undefined {
  const own = ofImage(image);
  const test = wish !== undefined && wish.test.length > 0 ? wish.test : own.test;
  const [kind, ...rest] = test;
  const args = kind === "CMD" ? rest : kind === "CMD-SHELL" ? [...(image?.shell ?? SHELL), ...rest] : [];
  if (args.length === 0) return undefined;
  const value = (name: keyof typeof USUAL) => wish?.[name] || own[name] || USUAL[name];
  const [interval, timeout, retries] = [value("interval"), value("timeout"), value("retries")];
  return { args, interval, timeout, retries, startPeriod: value("startPeriod"), startInterval: value("startInterval") };
}

/** What makes no sense in an image counts as not there. */
function ofImage(image: ImageConfig | undefined): HealthCheck {
  const said = (image?.healthcheck ?? {}) as Record<string, unknown>;
  const whole = (value: unknown) => (typeof value === "number" && value > 0 && Number.isFinite(value) ? value : 0);
  const time = (value: unknown) => Math.min(Math.round(whole(value) / NS_PER_MS), Number.MAX_SAFE_INTEGER);
  const test = Array.isArray(said.Test) ? said.Test : [];
  return {
    test: test.every((part) => typeof part === "string" && !part.includes("\0")) ? test : [],
    interval: time(said.Interval),
    timeout: time(said.Timeout),
    startPeriod: time(said.StartPeriod),
    startInterval: time(said.StartInterval),
    retries: Math.floor(whole(said.Retries)),
  };
}

import { HealthCheck, type RestartPolicy } from "../../proto/containerdts/engine/v1/engine.js";
import { positiveDuration } from "../options/duration.js";
import {
  anyText,
  type Check,
  type Checks,
  checkOptions,
  listOf,
  text,
  whole,
  wrong,
} from "../options/option-checks.js";
import type { ContainerOptions, HealthcheckOptions } from "./container-options.js";

const POLICY = /^(no|always|unless-stopped|on-failure)(?::(\d{1,9}))?$/;

export const restartCheck: Check = text(
  '"no", "always", "unless-stopped", "on-failure" or "on-failure:5"',
  (value) => POLICY.test(value) && (!value.includes(":") || value.startsWith("on-failure")),
);

/** What the daemon is told of it. */
export function restartMessage(restart: ContainerOptions["restart"]): RestartPolicy | undefined {
  if (restart === undefined) return undefined;
  const [, name = "", maxRetries = "0"] = POLICY.exec(restart)!;
  return { name, maxRetries: Number(maxRetries) };
}

const time: Check = (value, name) => {
  positiveDuration(value, name);
  if (!Number.isSafeInteger(value)) throw wrong(name, "a positive whole number of milliseconds", value);
};

const test: Check = (value, name) => {
  if (typeof value === "string") text("a command that is not empty", (command) => command !== "")(value, name);
  else {
    listOf(anyText, "a command, or a list of arguments")(value, name);
    if (!(value as readonly string[])[0]) throw wrong(name, "a command, or a list of arguments", value);
  }
};

const healthcheckChecks: Checks<HealthcheckOptions> = {
  test,
  interval: time,
  timeout: time,
  startPeriod: time,
  startInterval: time,
  retries: whole("a positive whole number", 1, 0xffffffff),
};

export const healthcheckCheck: Check = (value, name) => {
  if (value !== "none") checkOptions<HealthcheckOptions>(value, healthcheckChecks, name);
};

/** What the daemon is told of it. */
export function healthMessage(healthcheck: ContainerOptions["healthcheck"]): HealthCheck | undefined {
  if (healthcheck === undefined) return undefined;
  if (healthcheck === "none") return HealthCheck.fromPartial({ test: ["NONE"] });
  const { interval = 0, timeout = 0, startPeriod = 0, startInterval = 0, retries = 0 } = healthcheck;
  return {
    test: testMessage(healthcheck.test),
    interval: BigInt(interval),
    timeout: BigInt(timeout),
    startPeriod: BigInt(startPeriod),
    startInterval: BigInt(startInterval),
    retries,
  };
}

function testMessage(command: HealthcheckOptions["test"] = []): string[] {
  if (typeof command === "string") return ["CMD-SHELL", command];
  return command.length === 0 ? [] : ["CMD", ...command];
}

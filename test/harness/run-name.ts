/** The name of this run of the tests, in the names of all its directories and containers: several runs can share a machine. */
import { tmpdir } from "node:os";
import { join } from "node:path";

const variable = "CONTAINERD_TS_TEST_RUN";

/** Made by the first process of the run, inherited by the others. */
export function runName(): string {
  process.env[variable] ??= process.pid.toString(36);
  return process.env[variable];
}

/** For mkdtemp. */
export function directoryPrefix(): string {
  return join(tmpdir(), `ctd-${runName()}-`);
}

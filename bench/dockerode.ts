/** dockerode, which bench/dockerode/package.json pins: what is measured beside it of its API. */
import { createRequire } from "node:module";
import { join } from "node:path";
import type { Duplex, Readable } from "node:stream";
import type { Pack } from "tar-stream";
import { repository } from "../test/harness/paths.js";

export interface DockerodeContainer {
  readonly id: string;
  start(): Promise<unknown>;
  attach(options: { stream: boolean; stdin: boolean; hijack: boolean }): Promise<Duplex>;
  wait(): Promise<{ StatusCode: number }>;
  remove(options?: { force: boolean }): Promise<unknown>;
  exec(options: { Cmd: string[]; AttachStdout: boolean; AttachStderr: boolean }): Promise<DockerodeExec>;
  putArchive(archive: Pick<Pack, "pipe">, options: { path: string }): Promise<unknown>;
  getArchive(options: { path: string }): Promise<Readable>;
}

interface DockerodeExec {
  start(options: object): Promise<Readable>;
  inspect(): Promise<{ ExitCode: number | null }>;
}

export interface HostConfig {
  NetworkMode: string;
  CgroupParent?: string;
  PortBindings?: Record<string, { HostPort: string }[]>;
}

export interface Dockerode {
  createContainer(options: {
    Image: string;
    Cmd: string[];
    OpenStdin?: boolean;
    StdinOnce?: boolean;
    ExposedPorts?: Record<string, object>;
    HostConfig: HostConfig;
  }): Promise<DockerodeContainer>;
}

/** @throws Error where scripts/setup --bench has not been run */
export function dockerode(socketPath: string): Dockerode {
  const require = createRequire(join(repository, "bench/dockerode/package.json"));
  let Docker: new (options: { socketPath: string }) => Dockerode;
  try {
    Docker = require("dockerode");
  } catch (cause) {
    throw new Error("no dockerode (scripts/setup --bench installs it below bench/dockerode/)", { cause });
  }
  return new Docker({ socketPath });
}

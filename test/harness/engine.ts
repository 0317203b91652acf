/** Containers of the engine, as a client of its service asks for them. */
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import {
  type ContainerConfig,
  CreateRequest,
  type Exit,
  Mount,
  type Stdio as StdioPaths,
} from "../../src/proto/containerdts/engine/v1/engine.js";
import type { TestDaemon } from "./daemon.js";
import { collect, openStdio } from "./stdio.js";
import { makeTestImage, type StandardImage } from "./test-images.js";
import { Transfers } from "./transfer.js";
import type { ApiV1 } from "./v1.js";

export type Config = Partial<ContainerConfig>;

/** What the tests' image is called. */
export const IMAGE = "docker.io/library/test:base";

/** Makes the tests' image known in a namespace. */
export async function importImage(daemon: TestDaemon, namespace = "default"): Promise<StandardImage> {
  const standard = await makeTestImage(join(daemon.dir, "image"), "base");
  const archive = join(daemon.dir, "image.tar");
  await standard.layout.archive(archive);
  await new Transfers(daemon.v1(namespace)).import(archive, { name: IMAGE });
  return standard;
}

/** An id that leftovers.ts knows as this test's. */
export function newId(daemon: TestDaemon): string {
  return daemon.id(randomBytes(6).toString("hex"));
}

export interface Wanted {
  id: string;
  config?: Config;
  name?: string;
  owned?: boolean;
  autoRemove?: boolean;
  lifetime?: number;
}

/** A request for a container of the tests' image, read-only, on the host's user ids, unless it says otherwise. */
export function requestFor({ id, config = {}, name, owned, autoRemove, lifetime }: Wanted): CreateRequest {
  const isImage = config.rootfs === undefined;
  return CreateRequest.fromPartial({
    id,
    name: name ?? "",
    owned: owned ?? false,
    autoRemove: autoRemove ?? false,
    lifetime: BigInt(lifetime ?? 0),
    config: { ...(isImage && { image: IMAGE, readOnly: config.writable !== true }), ...config },
  });
}

export const texts = (...values: string[]) => ({ values });

/** Runs a container to its end, and removes it. */
export async function runToEnd(
  daemon: TestDaemon,
  args: string[],
  config: Config = {},
  api: ApiV1 = daemon.v1(),
): Promise<{ stdout: string; stderr: string; exit: Exit; id: string }> {
  const id = newId(daemon);
  using stdio = openStdio(daemon.dir, id);
  const [stdout, stderr] = [collect(stdio.stdout), collect(stdio.stderr)];
  const create = requestFor({ id, config: { ...config, args: texts(...args) }, owned: true });
  await api.engine.run({ create, stdio: { ...stdio.paths, stdin: "" } });
  const exit = await api.engine.wait({ id });
  await api.engine.remove({ id });
  return { stdout: `${await stdout.whole}`, stderr: `${await stderr.whole}`, exit, id };
}

/** A directory of the host in a container. */
export function bindOf(source: string, destination: string, more: Partial<Mount> = {}): Mount {
  return Mount.fromPartial({ type: "bind", source, destination, recursive: true, ...more });
}

export const NO_STDIO: StdioPaths = { stdin: "", stdout: "", stderr: "" };

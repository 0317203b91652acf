import { realpathSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Logger } from "pino";
import { CheckpointBlobs } from "../core/checkpoints/checkpoint-blobs.js";
import { Containers } from "../core/containers/containers.js";
import { Content } from "../core/content/content.js";
import { Engine } from "../core/engine/engine.js";
import { logText } from "../core/failure/log-text.js";
import { Images } from "../core/images/image-records.js";
import { ImageTransfers } from "../core/images/transfers.js";
import { Collection } from "../core/metadata/collection.js";
import { CollectionSchedule } from "../core/metadata/collection-schedule.js";
import { Identity } from "../core/metadata/identity.js";
import { Leases } from "../core/metadata/leases.js";
import { Namespaces } from "../core/metadata/namespaces.js";
import { Store } from "../core/metadata/store.js";
import { Networks } from "../core/network/networks.js";
import { type WorkerName, workerProgram } from "../core/scheduling/worker-program.js";
import { Snapshots } from "../core/snapshots/snapshots.js";
import { restore } from "../core/tasks/restore/restore.js";
import { findRuntime } from "../core/tasks/runtime/find-runtime.js";
import { Tasks } from "../core/tasks/tasks.js";
import { networksService } from "../services/engine/networks.js";
import { engineService } from "../services/engine/service.js";
import { volumesService } from "../services/engine/volumes.js";
import { createServer } from "../services/grpc/server.js";
import { serviceV0 } from "../services/v0/service.js";
import { serverVersion } from "../services/v0/version.js";
import { servicesV1 } from "../services/v1/services.js";
import { exitNow } from "../system/linux/exit-now.js";
import { errorText } from "../system/linux/libc.js";
import { machine } from "../system/linux/machine.js";
import { raiseOpenFilesLimit } from "../system/linux/rlimit.js";
import { refuseContainerd1 } from "./containerd1.js";
import type { Flags } from "./flags.js";
import { parseListenAddress } from "./listen/address.js";
import { Listeners } from "./listen/listeners.js";
import { notifyServiceManager } from "./listen/service-manager.js";
import { tlsFiles } from "./listen/tls.js";
import { closeStateDirectory, takeStateDirectory } from "./state-directory.js";
import { startDiagnostics } from "./telemetry/diagnostics.js";
import { createLog } from "./telemetry/log.js";
import type { LogOutput } from "./telemetry/log-output.js";
import { logState } from "./telemetry/state-dump.js";
import { whenUnused } from "./unused.js";
import { COMMIT, VERSION } from "./version.js";

/** In ms: how long running calls get to finish when the daemon stops. Docker kills it after 15 s. */
const STOP_TIMEOUT = 10_000;

/** In ms: how long the last lines of the log may take. */
const FLUSH_TIMEOUT = 500;

/**
 * Whatever this process was started with. Its own files are closed to others by their modes. This is for what runtimes make (directories in
 * a root file system, to be mounted over) and for the processes of an exec, which inherit it: a container's init gets just this one.
 */
const UMASK = 0o022;

/** In ms: how long a daemon that has failed blocks to write its last lines. */
const LAST_WORDS = 250;

/** As Go prints them. */
const SIGNAL_NAMES = { SIGTERM: "terminated", SIGINT: "interrupt" } as const;

/** Paths of the programs that come with it. */
export interface OwnPrograms {
  shim: string;
  netd: string;
}

/**
 * Runs the daemon until SIGTERM or SIGINT, or until nobody uses it where that is asked for; containers go on without it.
 * @param output where the log goes
 * @throws Error when it can't start: nothing is changed then
 */
export async function runDaemon(flags: Flags, { shim: ownShim, netd }: OwnPrograms, output: LogOutput): Promise<void> {
  const addresses = flags.listen.map(parseListenAddress);
  const tls = tlsFiles(flags);
  const log = createLog(flags.logFormat, flags.debug ? "debug" : flags.logLevel, output);
  raiseOpenFilesLimit();
  // While there are descriptors.
  const { memory, cpus } = machine();
  holdWorkerProgram("layer-worker", "no image can be unpacked", log);
  holdWorkerProgram("file-worker", "no files can be put into containers, or got from them", log);
  process.umask(UMASK);
  await takeStateDirectory(flags.stateDir);
  // As the kernel shows it: shims work elsewhere than this process, and are looked for by it.
  const stateDir = realpathSync(flags.stateDir);
  refuseContainerd1(stateDir);
  let restored = () => {};
  const ready = new Promise<void>((resolve) => {
    restored = resolve;
  });
  const tasks = new Tasks({
    ...flags,
    stateDir,
    runtime: absoluteProgram(flags.runtime),
    shim: flags.shim === undefined ? undefined : absoluteProgram(flags.shim),
    ownShim,
    log,
  });
  const root = resolve(flags.root);
  const store = new Store(join(root, "metadata"));
  const namespaces = new Namespaces(store, tasks.bus);
  namespaces.contain({ name: "tasks", isIn: (namespace) => tasks.list(namespace).length > 0 });
  const { bus } = tasks;
  const collection = new Collection(store, log);
  const schedule = new CollectionSchedule(collection, {
    interval: flags.gcInterval,
    highWater: flags.gcHighWater,
    root,
    log,
  });
  const leases = new Leases(store, namespaces, collection);
  const metadata = {
    namespaces,
    identity: new Identity(store),
    containers: new Containers(store, namespaces, collection, bus),
    leases,
    collection,
    content: new Content(join(root, "content"), { store, namespaces, leases, collection, bus, log }),
    snapshots: new Snapshots({ store, namespaces, leases, collection, bus, log, root }),
    images: new Images({ store, namespaces, collection, bus }),
    networks: new Networks(store, namespaces),
  };
  const transfers = new ImageTransfers({
    ...{ ...metadata, layers: metadata.snapshots.layers, version: VERSION },
    ...{ root, hostsDirs: flags.hostsDir, workers: flags.blobWorkers, discardBlobs: flags.discardBlobs },
  });
  const { content } = metadata;
  const checkpoints = new CheckpointBlobs(join(root, "checkpoints"), { store, content, tasks, log });
  const { systemdCgroup } = flags;
  const cni = { configurations: resolve(flags.cniConfDir), plugins: flags.cniPluginDir.map((path) => resolve(path)) };
  const engine = new Engine({ ...metadata, store, tasks, transfers, netd, cni, root, systemdCgroup, log });
  const server = createServer([
    serviceV0(tasks, ready, serverVersion(VERSION, COMMIT)),
    engineService(engine, ready),
    networksService(engine, ready),
    volumesService(engine, ready),
    ...servicesV1({ tasks, ...metadata, transfers, checkpoints, ready, log, version: VERSION, revision: COMMIT }),
  ]);
  // Listening comes first: a client that polls the health must not take the daemon for dead while containers are restored.
  const { group, insecureTcp } = flags;
  const listeners = new Listeners(server, { group, tls, insecureTcp, log });
  let endDiagnostics = () => {};
  try {
    for (const address of addresses) await listeners.listen(address);
    endDiagnostics = await startDiagnostics(flags, tasks, output);
    closeStateDirectory(flags.stateDir, [...listeners.socketPaths, flags.metricsAddress.replace("unix://", "")]);
  } catch (error) {
    listeners.close();
    tasks.close();
    throw error;
  }

  const tellServiceManager = (state: "READY=1" | "STOPPING=1") => {
    try {
      notifyServiceManager(state);
    } catch (error) {
      log.warn({ error: errorText(error) }, "containerd: notify the service manager");
    }
  };
  let stopping = false;
  const stop = async (why: string) => {
    if (stopping) return;
    stopping = true;
    log.info(`stopping containerd ${why}`);
    tellServiceManager("STOPPING=1");
    tasks.stop();
    schedule.stop();
    endDiagnostics();
    listeners.close();
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, STOP_TIMEOUT);
      server.tryShutdown(() => {
        clearTimeout(timer);
        resolve();
      });
    });
    server.forceShutdown();
    await engine.close();
    await output.flush(FLUSH_TIMEOUT);
    // Nothing may run in between: it would find its descriptors closed.
    tasks.close();
    exitNow(0);
  };
  for (const [signal, name] of Object.entries(SIGNAL_NAMES))
    process.on(signal, () => void stop(`after receiving ${name}`));
  process.on("SIGUSR1", () => logState(tasks));
  // A rejection that nothing handles concerns one container, as a rule; the others go on.
  process.on("unhandledRejection", (error) =>
    log.error({ error: logText(error), stack: (error as Error | undefined)?.stack }, "containerd: internal error"),
  );
  process.on("uncaughtException", (error) => {
    log.fatal({ error: errorText(error), stack: error.stack }, "containerd: internal error");
    // From here on nothing else may run: the state of this process is unknown.
    output.flushStandingStill(LAST_WORDS);
    exitNow(1);
  });

  const prepared = tasks.shims.prepare(tasks.runtime);
  void warnOfMissingRuntime(tasks.runtime, log);
  await restore(tasks);
  restored();
  schedule.start();
  await Promise.all([prepared, tasks.runDirectory.takeOver()]);
  // A restore that was under way is over now.
  void checkpoints.tidy();
  // Nobody has to call for it: what belongs to programs that have gone goes.
  engine
    .restore()
    .catch((error) => log.warn({ error: logText(error) }, "containerd: the engine's containers are not available"));
  tellServiceManager("READY=1");
  if (flags.stopWhenUnused > 0)
    whenUnused(
      { clients: listeners, tasks, engine },
      flags.stopWhenUnused,
      () => void stop("since nobody uses it any more"),
    );
  log.debug(
    {
      stateDir,
      runtime: tasks.runtime,
      runtimeArgs: flags.runtimeArgs,
      memory,
      cpus,
    },
    "containerd: supervisor running",
  );
}

/** What goes without it says so when it is wanted. */
function holdWorkerProgram(name: WorkerName, without: string, log: Logger): void {
  try {
    workerProgram(name);
  } catch (error) {
    log.warn({ error: errorText(error) }, `containerd: ${without}`);
  }
}

/** It may be installed later, and containers may name another: no reason not to start. */
async function warnOfMissingRuntime(runtime: string, log: Logger): Promise<void> {
  const missing = "containerd: the runtime can't be used: what names no other will not start";
  try {
    if ((await findRuntime(runtime)) === undefined) log.warn({ runtime, error: "no such program" }, missing);
  } catch (error) {
    log.warn({ runtime, error: errorText(error) }, missing);
  }
}

/** A program given by a relative path, as shims find it from their own directory. */
function absoluteProgram(name: string): string {
  return name.includes("/") ? resolve(name) : name;
}

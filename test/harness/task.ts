/** Tasks of containerd 1.x's API around busybox: a container's record, its task, and what else runs in it. */
import {
  Container,
  type Container as ContainerRecord,
} from "../../src/proto/containerd/services/containers/v1/containers.js";
import type {
  CreateTaskRequest,
  DeleteResponse,
  ExecProcessRequest,
  WaitResponse,
} from "../../src/proto/containerd/services/tasks/v1/tasks.js";
import type { Any } from "../../src/proto/google/protobuf/any.js";
import { type BundleOptions, type Spec, specification } from "./bundle.js";
import type { TestDaemon } from "./daemon.js";
import { type Collected, collect, openStdio, type Stdio } from "./stdio.js";
import type { ApiV1 } from "./v1.js";
import { eventually, within } from "./wait.js";

/** A runtime specification, or a part of one, as a request carries it. */
export function json(type: "Spec" | "Process" | "LinuxResources", value: unknown): Any {
  const typeUrl = `types.containerd.io/opencontainers/runtime-spec/1/${type}`;
  return { typeUrl, value: Buffer.from(JSON.stringify(value)) };
}

export interface ContainerOptions extends BundleOptions {
  /** The end of its id; unique within the daemon. */
  name: string;
  /** More of the container's record. */
  record?: Partial<ContainerRecord>;
}

export interface TaskOptions extends ContainerOptions {
  /** Connects FIFOs; without, its stdio is /dev/null. */
  stdio?: boolean;
  /** More of Tasks.Create's request. */
  request?: Partial<CreateTaskRequest>;
}

/** What is there of a process from its request on. */
export interface TaskProcess extends Disposable {
  /** Only with `stdio: true`. */
  readonly stdio: Stdio;
  /** All of its output; resolves when the shim has closed both. Only with `stdio: true`. */
  output(): Promise<{ stdout: string; stderr: string }>;
  /** Resolves when stdout has shown this text. Only with `stdio: true`. */
  printed(text: string): Promise<void>;
  /** Tasks.Start; answers the pid. */
  start(): Promise<number>;
  /** Tasks.Wait, the exit status alone. */
  exit(): Promise<number>;
  wait(): Promise<WaitResponse>;
  kill(signal?: number): Promise<void>;
  /** Tasks.Delete or DeleteProcess. */
  delete(): Promise<DeleteResponse>;
}

export interface ExecOptions {
  execId: string;
  args: string[];
  terminal?: boolean;
  stdio?: boolean;
  /** More of the process. */
  process?: Partial<Spec["process"]>;
  /** More of the request. */
  request?: Partial<ExecProcessRequest>;
}

export interface TestTask extends TaskProcess, AsyncDisposable {
  readonly id: string;
  /** Of its init, from Create on. */
  readonly pid: number;
  /** Adds another process, which {@link TaskProcess.start} starts. */
  exec(options: ExecOptions): Promise<TaskProcess>;
}

/** The record of a container, as {@link createContainer} creates it. */
export function containerRecord(daemon: TestDaemon, options: ContainerOptions): ContainerRecord {
  return Container.fromPartial({
    id: daemon.id(options.name),
    runtime: { name: "io.containerd.runc.v2" },
    spec: json("Spec", specification(options)),
    ...options.record,
  });
}

/** The containers that were created since a test has begun. */
const created: { api: ApiV1; id: string }[] = [];

/** A test begins: what was created before is not its own. */
export function forgetCreated(): void {
  created.length = 0;
}

/** A test has failed: what it has created is in nobody's way when it is tried again. */
export async function removeCreated(): Promise<void> {
  await Promise.all(created.splice(0).map(({ api, id }) => removeContainer(api, id)));
}

/** Creates a container without a task; answers its id. */
export async function createContainer(daemon: TestDaemon, api: ApiV1, options: ContainerOptions): Promise<string> {
  const container = containerRecord(daemon, options);
  await api.containers.create({ container });
  created.push({ api, id: container.id });
  return container.id;
}

/** Creates a container and its task, which is not started. `await using` ends and deletes both, also when the test fails. */
export async function createTask(daemon: TestDaemon, api: ApiV1, options: TaskOptions): Promise<TestTask> {
  const { args, terminal = false } = options;
  if (args.length === 0) throw new Error("a task needs a command");
  const id = await createContainer(daemon, api, options);
  const stdio = options.stdio ? openStdio(daemon.dir, id) : undefined;
  const paths = stdio && { ...stdio.paths, ...(terminal ? { stderr: "" } : {}) };
  const connected = () => daemon.v1(api.namespace);
  const process = taskProcess(connected, id, "", stdio);
  let pid: number;
  try {
    ({ pid } = await api.tasks.create({ containerId: id, terminal, ...paths, ...options.request }));
  } catch (error) {
    process[Symbol.dispose]();
    await api.containers.delete({ id });
    throw error;
  }
  return Object.defineProperties(
    process,
    Object.getOwnPropertyDescriptors({
      id,
      pid,
      exec: (exec: ExecOptions) => addExec(daemon, connected(), id, exec),
      async [Symbol.asyncDispose]() {
        stdio?.[Symbol.dispose]();
        if (daemon.running) await removeContainer(connected(), id);
      },
    }),
  ) as TestTask;
}

/** The same, started. */
export async function startTask(daemon: TestDaemon, api: ApiV1, options: TaskOptions): Promise<TestTask> {
  const task = await createTask(daemon, api, options);
  try {
    await task.start();
  } catch (error) {
    await task[Symbol.asyncDispose]();
    throw error;
  }
  return task;
}

/** Ends and deletes a container's task, and its record, as far as they are there. */
export async function removeContainer(api: ApiV1, containerId: string): Promise<void> {
  const timeout = 10_000;
  await api.tasks.kill({ containerId, signal: 9, all: true }, { timeout }).catch(() => {});
  await api.tasks.wait({ containerId }, { timeout }).catch(() => {});
  await api.tasks.delete({ containerId }, { timeout }).catch(() => {});
  await api.containers.delete({ id: containerId }, { timeout }).catch(() => {});
}

/** Tasks.Exec of a container whose command is known by its id. */
export async function addExec(
  daemon: TestDaemon,
  api: ApiV1,
  containerId: string,
  { execId, args, terminal = false, stdio: connect, process, request }: ExecOptions,
): Promise<TaskProcess> {
  const stdio = connect ? openStdio(daemon.dir, `${containerId}.${execId}`) : undefined;
  const paths = stdio && { ...stdio.paths, ...(terminal ? { stderr: "" } : {}) };
  const spec = json("Process", { ...specification({ args, terminal }).process, ...process });
  try {
    await api.tasks.exec({ containerId, execId, terminal, spec, ...paths, ...request });
  } catch (error) {
    stdio?.[Symbol.dispose]();
    throw error;
  }
  return taskProcess(() => daemon.v1(api.namespace), containerId, execId, stdio);
}

/** @param api the connection to the daemon that there is by then: it may have been restarted */
function taskProcess(api: () => ApiV1, containerId: string, execId: string, connected: Stdio | undefined): TaskProcess {
  const name = execId === "" ? containerId : `${containerId}/${execId}`;
  const stdout = connected && collect(connected.stdout);
  const stderr = connected && collect(connected.stderr);
  const some = <T>(value: T | undefined): T => {
    if (value === undefined) throw new Error(`${name} was made without stdio`);
    return value;
  };
  const text = async (stream: Collected, what: string) =>
    (await within(stream.whole, `the end of the ${what} of ${name}`)).toString();
  return {
    get stdio() {
      return some(connected);
    },
    async output() {
      return { stdout: await text(some(stdout), "stdout"), stderr: await text(some(stderr), "stderr") };
    },
    async printed(wanted) {
      await eventually(() => some(stdout).soFar().includes(wanted), { what: `"${wanted}" from ${name}` });
    },
    async start() {
      return (await api().tasks.start({ containerId, execId })).pid;
    },
    async exit() {
      return (await this.wait()).exitStatus;
    },
    wait: () => api().tasks.wait({ containerId, execId }),
    async kill(signal = 9) {
      await api().tasks.kill({ containerId, execId, signal });
    },
    delete: () =>
      execId === "" ? api().tasks.delete({ containerId }) : api().tasks.deleteProcess({ containerId, execId }),
    [Symbol.dispose]() {
      connected?.[Symbol.dispose]();
    },
  };
}

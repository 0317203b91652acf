/**
 * Clients of containerd 1.x's API that repeat each call for which they got no answer: container after container, from its creation until it
 * is deleted. Each answer has to be true, and each program has to run once.
 */
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { WaitResponse } from "../../src/proto/containerd/services/tasks/v1/tasks.js";
import { Options } from "../../src/proto/containerd/types/runc/options/oci.js";
import { Status } from "../../src/proto/containerd/types/task/task.js";
import { type ServiceError, status } from "../harness/api.js";
import { specification } from "../harness/bundle.js";
import type { TestDaemon } from "../harness/daemon.js";
import { containerRecord, json } from "../harness/task.js";
import type { ApiV1, EventsV1 } from "../harness/v1.js";
import { PATIENCE, sleep } from "../harness/wait.js";
import { UNCLEAR } from "./load.js";
import type { Random } from "./random.js";
import type { Work } from "./work.js";

export interface TaskLoadOptions {
  daemon: TestDaemon;
  random: Random;
  /** How many tasks there are at most. */
  places: number;
  violation: (text: string) => void;
  /** The runtime of the tasks; else the daemon's. */
  runtime?: string;
}

const NAMESPACE = "kills";

/** The exit statuses of what could not be started, and of what was killed. */
const NOT_STARTED = 255;
const KILLED = 137;

/** Codes of calls that got no answer. */
const NO_ANSWER = new Set([status.UNAVAILABLE, status.CANCELLED]);

/** In ms: how soon a call is tried again that a fault has made fail. */
const PAUSE = 50;

/** An error that is true when an earlier try of the same call was carried out, but not answered. */
type Done = RegExp;

/** It goes on over any number of daemons: {@link down} before one is killed, {@link up} once the next one answers. */
export class TaskLoad {
  /** How often each call was carried out. */
  readonly work: Work = {};
  /** The ids of all tasks that there ever were. */
  readonly ids = new Set<string>();
  readonly client: RepeatingClient;
  readonly #options: TaskLoadOptions;
  readonly #told: Told;
  readonly #stopping = new AbortController();
  #ended: Promise<unknown> = Promise.resolve();

  constructor(options: TaskLoadOptions) {
    this.#options = options;
    this.client = new RepeatingClient(options.daemon, this.work, options.violation);
    this.#told = new Told(options.violation);
  }

  async start(): Promise<void> {
    const { daemon, random, places, violation } = this.#options;
    await this.#told.follow(daemon.v1(NAMESPACE));
    const clients = Array.from({ length: places }, async (_, place) => {
      const own = random.fork();
      for (let n = 0; !this.#stopping.signal.aborted; n++) await this.#live(`t${place}-${n}`, own);
    });
    this.#ended = Promise.all(clients).catch((error: Error) => violation(`a client gave up: ${error.message}`));
  }

  async #live(name: string, random: Random): Promise<void> {
    this.ids.add(this.#options.daemon.id(name));
    await new Life(this.client, this.#told, this.#options, name, random).live();
  }

  /** No call is begun from now on. */
  down(): void {
    this.client.down();
  }

  async up(): Promise<void> {
    await this.#told.follow(this.#options.daemon.v1(NAMESPACE));
    this.client.up();
  }

  /** The tasks that there are come to their end, and all that is left is a violation. */
  async stop(): Promise<void> {
    const { daemon, violation } = this.#options;
    this.#stopping.abort();
    await this.#ended;
    const api = daemon.v1(NAMESPACE);
    const { tasks } = await api.tasks.list();
    const { containers } = await api.containers.list();
    for (const { id } of [...tasks, ...containers]) violation(`${id} is still there`);
  }
}

/** Repeats a call until it is answered, over any number of daemons. */
class RepeatingClient {
  /** The calls that wait for an answer. */
  readonly open = new Calls();
  /** There is, or was a moment ago, a fault on the machine: every call may fail, with a clear error, and is repeated. */
  faulty = false;
  /** How many calls failed for a fault. */
  refusals = 0;
  #isUp = Promise.resolve();
  #setUp = () => {};

  constructor(
    private readonly daemon: TestDaemon,
    private readonly work: Work,
    private readonly violation: (text: string) => void,
  ) {}

  down(): void {
    this.#isUp = new Promise((resolve) => {
      this.#setUp = resolve;
    });
  }

  up(): void {
    this.#setUp();
  }

  /**
   * @param done what is as good as an answer once a try got none
   * @param tried whether it may be so at the first try
   * @returns the answer, undefined when an earlier try was carried out; and whether there was a try without an answer
   */
  async call<T>(
    kind: string,
    what: string,
    call: (api: ApiV1) => Promise<T>,
    done?: Done,
    tried = false,
  ): Promise<{ answer: T | undefined; repeated: boolean }> {
    for (let repeated = false; ; repeated = true) {
      await this.#isUp;
      const api = this.daemon.v1(NAMESPACE);
      const end = this.open.begin(kind);
      const wasFaulty = this.faulty;
      try {
        const answer = await call(api);
        this.work[kind] = (this.work[kind] ?? 0) + 1;
        return { answer, repeated };
      } catch (error) {
        const { code, details } = error as ServiceError;
        if (NO_ANSWER.has(code) || details === undefined) {
          await sleep(5);
          continue;
        }
        const isDone = (repeated || tried) && done?.test(`${status[code]}: ${details}`);
        if (!isDone && (wasFaulty || this.faulty)) {
          this.refusals++;
          if (UNCLEAR.test(details)) this.violation(`${what}: ${kind}: an error that tells nothing: ${details}`);
          await sleep(PAUSE);
          continue;
        }
        if (!isDone) {
          this.violation(`${what}: ${kind}${repeated ? ", repeated" : ""}: ${status[code]}: ${details}`);
        }
        this.work[kind] = (this.work[kind] ?? 0) + 1;
        return { answer: undefined, repeated };
      } finally {
        end();
      }
    }
  }
}

/** Calls under way, by kind. */
class Calls {
  readonly #open = new Map<object, string>();

  begin(kind: string): () => void {
    const call = {};
    this.#open.set(call, kind);
    return () => this.#open.delete(call);
  }

  has(kind: string): boolean {
    return [...this.#open.values()].includes(kind);
  }

  values(): string[] {
    return [...this.#open.values()];
  }
}

/** What the subscriptions tell of exits: each once a subscription, and the same as Wait. */
class Told {
  readonly #seen: EventsV1[] = [];

  constructor(private readonly violation: (text: string) => void) {}

  async follow(api: ApiV1): Promise<void> {
    this.#seen.push(await api.subscribe('topic=="/tasks/exit"'));
  }

  /** What Wait has said; what was told of it has to be the same. */
  check(id: string, execId: string, exit: WaitResponse): void {
    for (const events of this.#seen) {
      const told = events.events.filter(({ event }) => event.containerId === id && event.id === (execId || id));
      if (told.length > 1) this.violation(`${id} ${execId}: its exit was told ${told.length} times`);
      for (const { event } of told) {
        if (event.exitStatus !== exit.exitStatus || event.exitedAt.seconds !== exit.exitedAt?.seconds) {
          this.violation(
            `${id} ${execId}: Wait says ${exit.exitStatus}, its event ${event.exitStatus}, or the times differ`,
          );
        }
      }
    }
  }
}

interface Program {
  command: string;
  /** undefined: until it is killed. */
  status: number | undefined;
}

/** One container, from its creation until it is deleted. */
class Life {
  readonly #id: string;
  /** Where each program says that it runs. */
  readonly #said: string;
  private readonly violation: (text: string) => void;

  constructor(
    private readonly client: RepeatingClient,
    private readonly told: Told,
    private readonly options: TaskLoadOptions,
    private readonly name: string,
    private readonly random: Random,
  ) {
    const { daemon } = options;
    this.#id = daemon.id(name);
    this.#said = join(daemon.dir, "said", name);
    this.violation = options.violation;
  }

  async live(): Promise<void> {
    const { client, random } = this;
    const containerId = this.#id;
    mkdirSync(this.#said, { recursive: true });
    const program = this.#program("init");
    const { daemon, runtime } = this.options;
    const container = containerRecord(daemon, {
      name: this.name,
      ...(runtime !== undefined && { record: { runtime: runcRuntime(runtime) } }),
      args: ["sh", "-c", program.command],
      spec: (spec) => {
        spec.mounts.push({ destination: "/var", type: "bind", source: this.#said, options: ["rbind", "rw"] });
      },
    });
    const call = <T>(kind: string, request: (api: ApiV1) => Promise<T>, done?: Done, tried?: boolean) =>
      client.call(kind, containerId, request, done, tried);
    await call("create container", (api) => api.containers.create({ container }), /^ALREADY_EXISTS/);
    const { created, got } = await this.#create();
    const pid = created.answer?.pid ?? got?.process?.pid ?? 0;
    if (got?.process?.pid !== pid || got?.process?.status !== Status.CREATED) {
      this.violation(`${containerId}: created with ${pid}, but Get says ${got?.process?.pid}, ${got?.process?.status}`);
    }
    const started = random.chance(0.9);
    let restarted = false;
    if (started) {
      const { answer, repeated } = await call(
        "start",
        (api) => api.tasks.start({ containerId }),
        /^FAILED_PRECONDITION: cannot start a/,
      );
      restarted = repeated;
      if (answer !== undefined && answer.pid !== pid)
        this.violation(`${containerId}: started as ${answer.pid}, not ${pid}`);
      // A start that a runtime has made fail may have ended it.
      if (program.status === undefined && !(restarted && runtime !== undefined)) {
        await Promise.all(Array.from({ length: random.integer(0, 2) }, (_, n) => this.#exec(`e${n}`)));
      }
    }
    const killed = !started || program.status === undefined;
    if (killed)
      await call(
        "kill",
        (api) => api.tasks.kill({ containerId, signal: 9 }),
        /^NOT_FOUND: process already finished/,
        restarted,
      );
    const exit = await this.#exit("");
    this.#expect("init", exit, killed ? KILLED : program.status, started, program, restarted);
    const deleted = await call("delete", (api) => api.tasks.delete({ containerId }), /^NOT_FOUND/);
    if (deleted.answer !== undefined && deleted.answer.exitStatus !== exit.exitStatus) {
      this.violation(`${containerId}: Wait says ${exit.exitStatus}, Delete ${deleted.answer.exitStatus}`);
    }
    await call("delete container", (api) => api.containers.delete({ id: containerId }), /^NOT_FOUND/);
  }

  /** What Create and Get say. One that a fault has made fail leaves nothing, though what it had made may take a while to go. */
  async #create() {
    const { client } = this;
    const containerId = this.#id;
    for (const end = performance.now() + PATIENCE; ; await sleep(PAUSE)) {
      const { refusals } = client;
      const created = await client.call(
        "create",
        containerId,
        (api) => api.tasks.create({ containerId }),
        /^ALREADY_EXISTS/,
      );
      const mayBeGone = client.refusals !== refusals || this.options.runtime !== undefined;
      const { answer: got } = await client.call(
        "get",
        containerId,
        (api) => api.tasks.get({ containerId }),
        /^NOT_FOUND/,
        mayBeGone && created.answer === undefined,
      );
      if (got !== undefined || !mayBeGone || performance.now() > end) return { created, got };
    }
  }

  async #exec(execId: string): Promise<void> {
    const containerId = this.#id;
    const call = <T>(kind: string, request: (api: ApiV1) => Promise<T>, done?: Done, tried?: boolean) =>
      this.client.call(kind, `${containerId} ${execId}`, request, done, tried);
    const program = this.#program(execId);
    const spec = json("Process", specification({ args: ["sh", "-c", program.command] }).process);
    await call("exec", (api) => api.tasks.exec({ containerId, execId, spec }), /^ALREADY_EXISTS/);
    const { repeated } = await call(
      "start exec",
      (api) => api.tasks.start({ containerId, execId }),
      /^FAILED_PRECONDITION: cannot start a/,
    );
    const killed = program.status === undefined;
    if (killed)
      await call(
        "kill",
        (api) => api.tasks.kill({ containerId, execId, signal: 9 }),
        /^NOT_FOUND: process already finished/,
        repeated,
      );
    const exit = await this.#exit(execId);
    this.#expect(execId, exit, killed ? KILLED : program.status, true, program, repeated);
    await call(
      "delete",
      (api) => api.tasks.deleteProcess({ containerId, execId }),
      /^NOT_FOUND: process does not exist/,
    );
  }

  /** What Wait says, once Get and the events say the same. */
  async #exit(execId: string): Promise<WaitResponse> {
    const containerId = this.#id;
    const what = `${containerId} ${execId}`;
    const { answer: exit } = await this.client.call("wait", what, (api) => api.tasks.wait({ containerId, execId }));
    if (exit === undefined) throw new Error(`${what}: no exit`);
    const { answer: got } = await this.client.call("get", what, (api) => api.tasks.get({ containerId, execId }));
    const { status: state, exitStatus, exitedAt } = got?.process ?? {};
    const isSame =
      exitStatus === exit.exitStatus &&
      exitedAt?.seconds === exit.exitedAt?.seconds &&
      exitedAt?.nanos === exit.exitedAt?.nanos;
    if (state !== Status.STOPPED || !isSame) {
      this.violation(`${what}: Wait says ${exit.exitStatus}, Get ${exitStatus}, ${state}, or the times differ`);
    }
    this.told.check(containerId, execId, exit);
    return exit;
  }

  #program(name: string): Program {
    const { random } = this;
    const say = `echo ran >>/var/${name}`;
    const exit = random.integer(0, 99);
    if (random.chance(0.3)) return { command: `${say}; sleep 0.${random.integer(0, 3)}; exit ${exit}`, status: exit };
    return { command: `${say}; exec sleep 100000`, status: undefined };
  }

  /**
   * A program ends as it says, or as it was killed; it has run once, or not yet when it was killed. That of an exec whose start an earlier
   * daemon did not live to answer may have failed to start, or have been ended since nobody followed it.
   */
  #expect(
    name: string,
    exit: WaitResponse,
    wanted: number | undefined,
    started: boolean,
    program: Program,
    repeated: boolean,
  ): void {
    const file = join(this.#said, name);
    const ran = existsSync(file) ? readFileSync(file, "utf8").split("\n").length - 1 : 0;
    // A start that a runtime has made fail is none, or ends what it has begun.
    const mayHaveFailed = repeated && (name !== "init" || this.options.runtime !== undefined);
    const notStarted = mayHaveFailed && exit.exitStatus === NOT_STARTED;
    const ended = mayHaveFailed && exit.exitStatus === KILLED;
    const least = started && program.status !== undefined && !notStarted && !ended ? 1 : 0;
    const most = started && !notStarted ? 1 : 0;
    if (ran > most || ran < least) this.violation(`${this.#id} ${name}: its program ran ${ran} times`);
    if (exit.exitStatus !== wanted && !notStarted && !ended) {
      this.violation(`${this.#id} ${name}: exit status ${exit.exitStatus}, not ${wanted}`);
    }
  }
}

function runcRuntime(binaryName: string) {
  const value = Buffer.from(Options.encode(Options.fromPartial({ binaryName })).finish());
  return { name: "io.containerd.runc.v2", options: { typeUrl: "containerd.runc.v1.Options", value } };
}

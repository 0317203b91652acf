/**
 * The kill suite over tasks of containerd 1.x's API: clients that repeat each call for which they got no answer, and a daemon that is
 * killed among the calls. Each answer has to be true, each program has to run once, and nothing may be left.
 */
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { WaitResponse } from "../../src/proto/containerd/services/tasks/v1/tasks.js";
import { Status } from "../../src/proto/containerd/types/task/task.js";
import { type ServiceError, status } from "../harness/api.js";
import { specification } from "../harness/bundle.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { containerRecord, json } from "../harness/task.js";
import type { ApiV1, EventsV1 } from "../harness/v1.js";
import { eventually, sleep } from "../harness/wait.js";
import { copyBuild } from "./private-build.js";
import { Random } from "./random.js";
import { tooLittle, type Work } from "./work.js";

export interface TaskKillOptions {
  kills: number;
  seed: number;
  /** How many tasks there are at most. */
  places?: number;
  progress?: (line: string) => void;
  signal?: AbortSignal;
}

export interface TaskKillReport {
  kills: number;
  violations: string[];
  /** How often each call was carried out. */
  work: Work;
  /** How often the daemon was killed while a call of this kind had no answer yet. */
  phases: Work;
  /** In ms, from the kill until the next daemon answers. */
  recoveries: number[];
}

/** The calls among which the daemon is killed, in turn. */
const PHASES = ["create", "start", "exec", "start exec", "kill", "delete"];
/** In ms: how long a call of the phase is waited for, and how long it is left to go on at most. */
const PHASE_TIMEOUT = 2_000;
const PHASE_DEPTH = 40;
/** How often, and in ms how soon at the latest, it is killed again while it restores. */
const SECOND_KILL = 0.15;
const LONGEST_RESTORE = 300;

/** The exit statuses of what could not be started, and of what was killed. */
const NOT_STARTED = 255;
const KILLED = 137;

/** Codes of calls that got no answer. */
const NO_ANSWER = new Set([status.UNAVAILABLE, status.CANCELLED]);

/** An error that is true when an earlier try of the same call was carried out, but not answered. */
type Done = RegExp;

export async function runTaskKills(options: TaskKillOptions): Promise<TaskKillReport> {
  const { seed, places = 10 } = options;
  const report: TaskKillReport = { kills: 0, violations: [], work: {}, phases: {}, recoveries: [] };
  const violation = (text: string) => {
    report.violations.push(`after kill ${report.kills}: ${text}`);
    options.progress?.(`VIOLATION after kill ${report.kills}: ${text}`);
  };
  const random = new Random(seed);
  using build = copyBuild();
  await using daemon = await startDaemon({
    program: build.daemon,
    flags: ["--shim", build.shim, "--log-level", "debug"],
  });
  const client = new RepeatingClient(daemon, report.work, violation);
  const stopping = new AbortController();
  const told = new Told(violation);
  await told.follow(daemon.v1("kills"));
  const clients = Array.from({ length: places }, async (_, place) => {
    const own = random.fork();
    for (let n = 0; !stopping.signal.aborted; n++) {
      await new Life(client, told, daemon, `p${place}-${n}`, own, violation).live();
    }
  });
  const ended = Promise.all(clients).catch((error: Error) => violation(`a client gave up: ${error.message}`));
  while (report.kills < options.kills && !options.signal?.aborted && report.violations.length === 0) {
    const phase = PHASES[report.kills % PHASES.length]!;
    await eventually(() => client.open.has(phase), { timeout: PHASE_TIMEOUT, interval: 1 }).catch(() => {});
    await sleep(random.next() * PHASE_DEPTH);
    for (const kind of new Set(client.open.values())) report.phases[kind] = (report.phases[kind] ?? 0) + 1;
    const begin = performance.now();
    client.down();
    await daemon.kill();
    if (random.chance(SECOND_KILL)) {
      daemon.spawn();
      await sleep(random.next() * LONGEST_RESTORE);
      await daemon.kill();
      report.kills++;
    }
    await daemon.start();
    await told.follow(daemon.v1("kills"));
    client.up();
    report.recoveries.push(performance.now() - begin);
    report.kills++;
    options.progress?.(`${report.kills} kills, ${report.violations.length} violations`);
  }
  stopping.abort();
  await ended;
  const api = daemon.v1("kills");
  const { tasks } = await api.tasks.list();
  const { containers } = await api.containers.list();
  for (const { id } of [...tasks, ...containers]) violation(`${id} is still there`);
  await daemon.expectNothingLeft().catch((error: Error) => violation(error.message));
  const missing = tooLittle(report.work, Object.fromEntries(PHASES.map((phase) => [phase, report.kills / 10])));
  if (missing !== undefined && report.violations.length === 0 && !options.signal?.aborted) violation(missing);
  if (report.violations.length > 0)
    options.progress?.(`the daemon's log:\n${daemon.log.split("\n").slice(-200).join("\n")}`);
  return report;
}

/** Repeats a call until it is answered, over any number of daemons. */
class RepeatingClient {
  /** The calls that wait for an answer. */
  readonly open = new Calls();
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
      const api = this.daemon.v1("kills");
      const end = this.open.begin(kind);
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
        if (!(repeated || tried) || !done?.test(`${status[code]}: ${details}`)) {
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

  constructor(
    private readonly client: RepeatingClient,
    private readonly told: Told,
    private readonly daemon: TestDaemon,
    private readonly name: string,
    private readonly random: Random,
    private readonly violation: (text: string) => void,
  ) {
    this.#id = daemon.id(name);
    this.#said = join(daemon.dir, "said", name);
  }

  async live(): Promise<void> {
    const { client, random } = this;
    const containerId = this.#id;
    mkdirSync(this.#said, { recursive: true });
    const program = this.#program("init");
    const container = containerRecord(this.daemon, {
      name: this.name,
      args: ["sh", "-c", program.command],
      spec: (spec) => {
        spec.mounts.push({ destination: "/var", type: "bind", source: this.#said, options: ["rbind", "rw"] });
      },
    });
    const call = <T>(kind: string, request: (api: ApiV1) => Promise<T>, done?: Done, tried?: boolean) =>
      client.call(kind, containerId, request, done, tried);
    await call("create container", (api) => api.containers.create({ container }), /^ALREADY_EXISTS/);
    const created = await call("create", (api) => api.tasks.create({ containerId }), /^ALREADY_EXISTS/);
    const { answer: got } = await call("get", (api) => api.tasks.get({ containerId }));
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
      if (program.status === undefined) {
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
    const mayHaveFailed = repeated && name !== "init";
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

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type DaemonOptions, startDaemon, type TestDaemon } from "../test/harness/daemon.js";
import { processes } from "../test/harness/processes.js";

/** A private daemon and the containers that a measurement runs on it. */
export class Fleet implements AsyncDisposable {
  readonly daemon: TestDaemon;
  readonly bundle: string;
  #started = 0;
  #ended = 0;

  private constructor(daemon: TestDaemon) {
    this.daemon = daemon;
    this.bundle = daemon.bundle("sleep", { args: ["sleep", "100000"] });
  }

  static async launch(options: DaemonOptions = {}): Promise<Fleet> {
    return new Fleet(await startDaemon({ ...options, flags: ["--log-level", "error", ...(options.flags ?? [])] }));
  }

  /** Starts one more container and answers its id. */
  async start(runtime = ""): Promise<string> {
    const id = this.daemon.id(`f${this.#started++}`);
    await this.daemon.api.createContainer({ id, bundlePath: this.bundle, runtime }, { timeout: 300_000 });
    return id;
  }

  /** Kills a container and waits for its exit event. */
  async end(id: string): Promise<void> {
    const exit = this.daemon.events.waitFor({ type: "exit", id });
    await this.daemon.api.signal({ id, pid: "init", signal: 9 });
    await exit;
    this.#ended++;
  }

  /** Starts so many, by so many callers. Returns containers per second. */
  async startMany(count: number, callers: number, runtime = ""): Promise<number> {
    const began = performance.now();
    let left = count;
    await Promise.all(
      Array.from({ length: Math.min(callers, count) }, async () => {
        while (left-- > 0) await this.start(runtime);
      }),
    );
    return count / ((performance.now() - began) / 1000);
  }

  get running(): number {
    return this.#started - this.#ended;
  }

  shims(): number[] {
    return processes()
      .filter(({ directory }) => directory.startsWith(`${this.daemon.stateDir}/`))
      .map((process) => process.pid);
  }

  file(name: string): string {
    return join(this.daemon.dir, name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.daemon[Symbol.asyncDispose]();
  }
}

/** In MB (10^6 bytes). */
export interface Memory {
  rss: number;
  pss: number;
  private: number;
}

/** Memory of a process, from smaps_rollup. */
export function memoryOf(pid: number): Memory {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  const field = (name: string) => (Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(text)?.[1] ?? 0) * 1024) / 1e6;
  return { rss: field("Rss"), pss: field("Pss"), private: field("Private_Clean") + field("Private_Dirty") };
}

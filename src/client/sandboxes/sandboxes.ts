import { withTimeout } from "../abortable.js";
import { type CallOptions, callChecks } from "../api/call-options.js";
import type { EngineParts } from "../containers/run.js";
import { ContainerdError } from "../errors/containerd-error.js";
import { type Checks, checkOptions, flag, nameText } from "../options/option-checks.js";
import { type PoolOptions, poolChecks, SandboxPool } from "./pool.js";
import { checkSandbox, DEFAULT_TTL, prepare, type SandboxOptions, sandboxChecks } from "./prepare.js";
import type { Sandbox } from "./sandbox.js";

export interface CreateSandboxOptions extends SandboxOptions, CallOptions {
  /** By which the container can be found. Default: none. */
  name?: string | undefined;
  /** Whether it ends and goes with this program, however that ends. Default: true; over TCP false. */
  owned?: boolean | undefined;
}

const createChecks: Checks<CreateSandboxOptions> = { ...sandboxChecks, ...callChecks, name: nameText, owned: flag };

/** Containers for code that nobody trusts, each with a time to live; docs/untrusted-code.md says what they protect from. */
export class Sandboxes {
  readonly #parts: EngineParts;
  readonly #pools = new Set<SandboxPool>();

  /** @internal */
  constructor(parts: EngineParts) {
    this.#parts = parts;
  }

  /**
   * Makes a sandbox, and resolves when it is ready.
   *
   * @throws ContainerdError whose `kind` and message say what is wrong; TypeError or RangeError for options that make no sense. Nothing is
   *   left then.
   * @example
   * await using sandbox = await client.sandboxes.create({ image: "python:3.13-slim", ttl: 60_000, writable: true });
   * await sandbox.writeFile("/srv/main.py", code);
   * const { stdout } = await sandbox.exec(["python", "/srv/main.py"], { timeout: 5000 });
   */
  async create(options: CreateSandboxOptions): Promise<Sandbox> {
    checkOptions(options, createChecks);
    checkSandbox(options);
    const { name, owned = this.#parts.api.knowsCaller, signal, timeout, ...rest } = options;
    const { ttl = DEFAULT_TTL } = options;
    const late = () => new ContainerdError("DEADLINE_EXCEEDED", `the sandbox was not ready within ${timeout} ms`);
    return await withTimeout(
      (signal) => prepare(this.#parts, rest, { name, owned, ttl, signal }),
      { signal, timeout },
      late,
    );
  }

  /**
   * Keeps `size` sandboxes ready, so that to get one takes about as long as a call to the daemon. Resolves when the first one is ready;
   * close it when no more are needed.
   *
   * @throws ContainerdError why none can be made (the image is missing, say); there is no pool then, and nothing is left
   * @example
   * await using pool = await client.sandboxes.pool({ image: "python:3.13-slim", size: 5, ttl: 60_000 });
   * await using sandbox = await pool.acquire();
   * const { stdout } = await sandbox.exec(["python", "-c", code], { timeout: 5000 });
   */
  async pool(options: PoolOptions & CallOptions): Promise<SandboxPool> {
    checkOptions(options, poolChecks);
    checkSandbox(options);
    const { signal, timeout, ...rest } = options;
    if (!this.#parts.api.knowsCaller)
      throw new TypeError(
        "a pool needs a daemon on this machine, reached by its unix socket: else nobody would see the program end",
      );
    const pool = new SandboxPool(this.#parts, rest, () => this.#pools.delete(pool));
    this.#pools.add(pool);
    await pool.open({ signal, timeout });
    return pool;
  }

  /** @internal Closes all pools. */
  async close(): Promise<void> {
    await Promise.all([...this.#pools].map((pool) => pool.close()));
  }
}

/** A machine of its own with Debian's podman, conmon and crun, whose storage and settings nobody else has. */
import { existsSync, readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { Machine, type RunningProgram } from "../test/harness/machine.js";
import { unpackedProgram } from "../test/harness/paths.js";
import { eventually, within } from "../test/harness/wait.js";

/** Below the directory that it is told; its own limits are podman's, and no container's is above them. */
const SETTINGS = `
set -e
if mountpoint -q /sys/fs/cgroup/unified; then umount /sys/fs/cgroup/unified; fi
mkdir -p /etc/containers
echo '{ "default": [{ "type": "insecureAcceptAnything" }] }' >/etc/containers/policy.json
cat >/etc/containers/storage.conf <<END
[storage]
driver = "overlay"
graphroot = "$1/storage"
runroot = "$1/run"
END
cat >/etc/containers/containers.conf <<END
[containers]
default_ulimits = ["nofile=$3:$3", "nproc=$4:$4"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
conmon_path = ["$2/conmon"]
runtime = "crun"
[engine.runtimes]
crun = ["$2/crun"]
END`;

/** What podman gives itself at most: it can't give a container more where root may not raise limits. */
const PROCESSES = 32_768;

export class PodmanHost extends Machine {
  readonly #programs: string;
  #service: RunningProgram | undefined;

  constructor() {
    super("podman");
    const podman = unpackedProgram("podman");
    if (podman === undefined) throw new Error("no podman (scripts/setup --bench brings it)");
    this.#programs = dirname(podman);
  }

  override get environment(): Record<string, string> {
    const { PATH, ...others } = super.environment;
    return { ...others, PATH: `${this.#programs}:${PATH}` };
  }

  get socket(): string {
    return join(this.dir, "podman.sock");
  }

  /** The cgroup of all its containers. */
  get cgroup(): string {
    return `/${basename(this.dir)}-podman`;
  }

  /** With its API service. */
  override async start(): Promise<void> {
    await super.start();
    const [files, processes] = [hardLimit("Max open files"), Math.min(PROCESSES, hardLimit("Max processes"))];
    // crun refuses cgroup v1 where v2 has controllers of its own beside it.
    await this.#complete("sh", "-c", SETTINGS, "sh", this.dir, this.#programs, `${files}`, `${processes}`);
    this.#service = this.spawn("podman", "system", "service", "--time=0", `unix://${this.socket}`);
    let ended = false;
    this.#service.outcome.then(() => {
      ended = true;
    });
    await eventually(() => ended || existsSync(this.socket), { what: "podman's socket" });
    if (ended) throw new Error(`podman's service has ended: ${(await this.#service.outcome).stderr}`);
  }

  /** Runs podman, which has to succeed. */
  async podman(...args: string[]): Promise<string> {
    return await this.#complete("podman", ...args);
  }

  async #complete(...command: string[]): Promise<string> {
    const program = this.spawn(...command);
    program.child.stdin!.end();
    const { code, stdout, stderr } = await within(program.outcome, command.slice(0, 2).join(" "));
    if (code !== 0) throw new Error(`${command.slice(0, 2).join(" ")}: ${code}: ${stderr || stdout}`);
    return stdout.trimEnd();
  }
}

/** Of this process; `Infinity` is no number that podman's settings take. */
function hardLimit(name: string): number {
  const words = new RegExp(`^${name}\\s+\\S+\\s+(\\S+)`, "m").exec(readFileSync("/proc/self/limits", "utf8"));
  const limit = Number(words?.[1]);
  return Number.isSafeInteger(limit) ? limit : 1 << 20;
}

import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { goArgv } from "../contract/go/argv.js";
import { parseGoDuration } from "../contract/go/duration.js";
import { FlagError } from "../contract/go/flag-error.js";
import { VERSION } from "./version.js";

const LOG_LEVELS = ["debug", "info", "warn", "error", "fatal", "panic"] as const;
const LOG_FORMATS = ["text", "json"] as const;

/** In ms, 24 days: a longer timer of Node ends at once. */
const LONGEST = 2 ** 31 - 1;

const DEFAULT_LISTEN = ["unix:///run/containerd/containerd.sock"];

/** Of containerd 1.x, then of Docker. */
const DEFAULT_CNI_PLUGIN_DIRS = ["/opt/cni/bin", "/usr/lib/cni"];
const DEFAULT_HOSTS_DIRS = ["/etc/containerd/certs.d", "/etc/docker/certs.d"];

/** What the daemon of containerd 1.x has, and what to type here. */
const CONTAINERD1_FLAGS: ReadonlyMap<string, string> = new Map([
  ["a", "type --listen unix:///path"],
  ["address", "type --listen unix:///path"],
  ["c", "there is no configuration file, only flags"],
  ["config", "there is no configuration file, only flags"],
  ["state", "type --run-dir"],
]);

/** What the daemon was told on its command line. Durations in ms. */
export interface Flags {
  debug: boolean;
  logLevel: (typeof LOG_LEVELS)[number];
  logFormat: (typeof LOG_FORMATS)[number];
  stateDir: string;
  runDir: string;
  root: string;
  metricsInterval: number;
  listen: string[];
  group?: string;
  tlsCert?: string;
  tlsKey?: string;
  tlsCa?: string;
  insecureTcp: boolean;
  runtime: string;
  runtimeArgs: string[];
  systemdCgroup: boolean;
  shim?: string;
  pprofAddress: string;
  startTimeout: number;
  retainCount: number;
  startWorkers: number;
  hostsDir: string[];
  cniConfDir: string;
  cniPluginDir: string[];
  gcInterval: number;
  gcHighWater: number;
  blobWorkers: number;
  discardBlobs: boolean;
  graphiteAddress: string;
  metricsAddress: string;
  containerMetrics: boolean;
  insecureDebug: boolean;
  stopWhenUnused: number;
}

/** The process has to end with this code; what there was to say is printed. */
export class FlagsExit extends Error {
  readonly exitCode: number;

  constructor(exitCode: number) {
    super(`exit ${exitCode}`);
    this.exitCode = exitCode;
  }
}

/**
 * Reads the daemon's command line, in Go's style.
 * @param argv without node and the program
 * @throws FlagsExit after --help, --version or an error; any other Error has the text to show
 */
export function parseFlags(argv: readonly string[]): Flags {
  const program = daemonCommand();
  try {
    const words = goArgv(argv, program);
    const surplus = words.indexOf("--") + 1;
    if (surplus > 0)
      throw new Error(`unknown argument "${words[surplus]}": this daemon has flags only, containerd --help lists them`);
    program.parse(words, { from: "user" });
  } catch (error) {
    const hint = error instanceof FlagError && CONTAINERD1_FLAGS.get(error.undefinedFlag ?? "");
    if (hint) throw new FlagError(`${(error as Error).message}: ${hint}`);
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) throw new FlagsExit(0);
    throw new Error(error.message.replace(/^error: /, ""));
  }
  return program.opts<Flags>();
}

/** The flags and their descriptions: for parsing, and for the man page. */
export function daemonCommand(): Command {
  return new Command("containerd")
    .description("Container supervisor: runs OCI containers and outlives its own restarts")
    .usage("[flags]")
    .helpOption("-h, --help", "show this help")
    .version(`containerd version ${VERSION}`, "-v, --version", "print the version")
    .option("--debug", "log everything", false)
    .option("--log-level <level>", `log from this level on: ${LOG_LEVELS.join(", ")}`, oneOf(LOG_LEVELS), "info")
    .option("--log-format <format>", `write log lines as ${LOG_FORMATS.join(" or ")}`, oneOf(LOG_FORMATS), "text")
    .option(
      "--state-dir <directory>",
      "where the state of running containers of containerd 0.2's API is kept",
      notEmpty,
      "/run/containerd",
    )
    .option(
      "--run-dir <directory>",
      "where the tasks of namespaces are kept, until the machine is restarted",
      notEmpty,
      "/run/containerd-ts",
    )
    .option(
      "--root <directory>",
      "where what survives a restart of the machine is kept",
      notEmpty,
      "/var/lib/containerd-ts",
    )
    .addOption(
      new Option("--metrics-interval <duration>", "how often all metrics are written to the log; 0 for never")
        .argParser(duration)
        .default(300_000, "5m"),
    )
    .option(
      "-l, --listen <address>",
      "address of the gRPC API: unix:///path, tcp://host:port or, with socket activation, fd:// or fd://name; repeatable",
      collectOr(DEFAULT_LISTEN),
      DEFAULT_LISTEN,
    )
    .option(
      "--group <name>",
      "name or id of the group that may connect to the unix sockets (default: the daemon's own)",
    )
    .option("--tls-cert <file>", "certificate of the daemon for tcp:// (PEM)")
    .option("--tls-key <file>", "key of that certificate (PEM)")
    .option("--tls-ca <file>", "authority that the certificates of tcp:// clients must come from (PEM)")
    .option("--insecure-tcp", "allow tcp:// without TLS: whoever reaches the port is root on this machine", false)
    .option("-r, --runtime <name>", "OCI runtime of containers that name none", "runc")
    .option("--runtime-args <argument>", "argument for the runtime, before every subcommand; repeatable", collect, [])
    .option(
      "--systemd-cgroup",
      "have systemd make the cgroups of the engine's containers: slices and scopes, by the runtime's option of that name",
      false,
    )
    .option("--shim <name>", "name or path of the shim (default: the one of this package)")
    .option(
      "--pprof-address <address>",
      "serve profiles over HTTP on host:port (this machine's only) or unix:///path",
      "",
    )
    .addOption(
      new Option("--start-timeout <duration>", "how long a container may take to start")
        .argParser(duration)
        .default(30_000, "30s"),
    )
    .option("--retain-count <number>", "how many past events are kept", count, 500)
    .option("--start-workers <number>", "how many containers are started at a time", atLeastOne, 10)
    .option(
      "--hosts-dir <directory>",
      "where HOST/hosts.toml and HOST/*.crt say how registries are reached; repeatable",
      collectOr(DEFAULT_HOSTS_DIRS),
      DEFAULT_HOSTS_DIRS,
    )
    .option("--cni-conf-dir <directory>", "where networks of the system are configured", "/etc/cni/net.d")
    .option(
      "--cni-plugin-dir <directory>",
      "where plugins of networks of the system are; repeatable",
      collectOr(DEFAULT_CNI_PLUGIN_DIRS),
      DEFAULT_CNI_PLUGIN_DIRS,
    )
    .option("--blob-workers <number>", "how many blobs a pull or a push moves at a time", atLeastOne, 3)
    .option(
      "--discard-blobs",
      "keep layers of images unpacked only: they take less room, and can't be pushed or exported",
      false,
    )
    .addOption(
      new Option(
        "--gc-interval <duration>",
        "how often content and snapshots that nothing needs are removed; 0 for never",
      )
        .argParser(duration)
        .default(3_600_000, "1h"),
    )
    .option(
      "--gc-high-water <percent>",
      "from this use of the file system of --root on, more is removed: what nothing needs since minutes; 100 for never",
      percent,
      90,
    )
    .option("--graphite-address <address>", "host:port of the Graphite server that metrics are sent to", "")
    .option("--metrics-address <address>", "serve Prometheus metrics over HTTP, as --pprof-address", "")
    .option("--container-metrics", "what each container uses, too, in --metrics-address", false)
    .option("--insecure-debug", "allow --pprof-address and --metrics-address that other machines can reach", false)
    .addOption(
      new Option(
        "--stop-when-unused <duration>",
        "stop once no client has been connected for so long and no container is left that has not ended; 0 for never",
      )
        .argParser(duration)
        .default(0, "0"),
    )
    .allowExcessArguments(false)
    .exitOverride()
    .configureOutput({ writeErr: () => {} });
}

function oneOf<T extends string>(values: readonly T[]) {
  return (text: string): T => {
    const value = values.find((candidate) => candidate === text);
    if (value === undefined) throw new InvalidArgumentError(`Not one of ${values.join(", ")}.`);
    return value;
  };
}

function notEmpty(text: string): string {
  if (text === "") throw new InvalidArgumentError("It can't be empty.");
  return text;
}

function duration(text: string): number {
  const milliseconds = parseGoDuration(text);
  if (milliseconds < 0) throw new InvalidArgumentError("A duration can't be negative.");
  return Math.min(milliseconds, LONGEST);
}

function count(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError("Not a number.");
  return Number(text);
}

function percent(text: string): number {
  const value = count(text);
  if (value < 1 || value > 100) throw new InvalidArgumentError("Not from 1 to 100.");
  return value;
}

function atLeastOne(text: string): number {
  const value = count(text);
  if (value === 0) throw new InvalidArgumentError("Must be at least 1.");
  return value;
}

/** Collects values in place of a default. */
function collectOr(fallback: string[]) {
  return (value: string, before: string[]): string[] => (before === fallback ? [value] : [...before, value]);
}

function collect(value: string, before: string[]): string[] {
  return [...before, value];
}

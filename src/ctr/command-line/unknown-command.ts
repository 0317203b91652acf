import type { Command } from "commander";
import { destination, isFlagOf } from "../../contract/go/argv.js";

const START_COMMAND = "ctr containers start --attach ID BUNDLE";
const NONE = "this containerd has no";

/** What other programs' users type (ctr of containerd 1.x, nerdctl, docker, podman), and what to type here. */
const HABITS: Record<string, string> = {
  attach: `type: ctr logs --follow CONTAINER; of a bundle, attach at the start: ${START_COMMAND}`,
  build: "images are built elsewhere and come by ctr images import or ctr images pull",
  commit: "images are built elsewhere and come by ctr images import or ctr images pull",
  cp: "type: ctr exec CONTAINER cat FILE, or ctr exec -i CONTAINER tar -C DIRECTORY -x",
  config: "its daemon has flags: containerd --help",
  create: `a container is created and started at once: ctr run --detach IMAGE; of a bundle: ${START_COMMAND}`,
  delete: "type: ctr rm CONTAINER; one of a bundle is removed when it ends: ctr containers kill --signal KILL ID",
  export: "type: ctr images export IMAGE FILE",
  history: "type: ctr images inspect IMAGE",
  import: "type: ctr images import FILE",
  info: "type: ctr containers state ID; of an image's: ctr inspect CONTAINER",
  inspect: "type: ctr containers state ID; of an image's: ctr inspect CONTAINER, of an image: ctr images inspect IMAGE",
  list: "type: ctr ps; of bundles: ctr containers list",
  load: "type: ctr images import FILE",
  login: "the daemon reads the configuration of docker login; or type: ctr images pull --user NAME:PASSWORD IMAGE",
  logs: `output goes to whoever has started the container: ${START_COMMAND}; of the engine's: ctr logs ID`,
  ls: "type: ctr ps; of bundles: ctr containers list",
  metrics: "type: ctr containers stats ID",
  namespace: "a namespace is there once something is in it: ctr --namespace NAME images",
  namespaces: "a namespace is there once something is in it: ctr --namespace NAME images",
  ns: "a namespace is there once something is in it: ctr --namespace NAME images",
  oci: "type: runc spec --bundle BUNDLE, which writes a config.json",
  pause: "type: ctr containers pause ID",
  plugins: `${NONE} plugins`,
  port: "type: ctr ps",
  ps: "type: ctr containers list; of images: ctr ps",
  prune: "type: ctr images prune",
  pull: "type: ctr images pull IMAGE",
  push: "type: ctr images push IMAGE",
  restart: `a container that has ended is started anew: ${START_COMMAND}; of an image's: ctr restart CONTAINER`,
  restore: "type: ctr containers start --checkpoint NAME ID BUNDLE",
  resume: "type: ctr containers resume ID",
  rm: "a container is removed when it ends: ctr containers kill --signal KILL ID; of an image's: ctr rm CONTAINER",
  rmi: "type: ctr images rm IMAGE",
  save: "type: ctr images export IMAGE FILE",
  search: "a registry is searched on its own pages",
  stats: "type: ctr containers stats ID, or ctr containers stats --watch for all",
  stop: "type: ctr containers kill ID; of an image's: ctr stop CONTAINER",
  tag: "type: ctr images tag IMAGE NAME",
  top: "type: ctr containers stats --watch; of an image's: ctr exec CONTAINER ps",
  unpause: "type: ctr containers resume ID",
  update: "type: ctr containers update ID",
  wait: `wait from the start on: ${START_COMMAND}`,
  watch: "type: ctr containers watch ID",
};

/** Words before a command in those programs, and the command that has it here. */
const GROUPS: Record<string, string> = {
  c: "containers",
  checkpoint: "checkpoints",
  container: "containers",
  contents: "content",
  i: "images",
  image: "images",
  img: "images",
  lease: "leases",
  net: "networks",
  network: "networks",
  snapshot: "snapshots",
  t: "containers",
  task: "containers",
  tasks: "containers",
  volume: "volumes",
};

/** What is typed for flags; "list -a" is that of one command only. */
const FLAG_HABITS: Record<string, string> = {
  d: "ctr containers start and exec run it detached without --attach",
  detach: "ctr containers start and exec run it detached without --attach",
  "exec-id": "type --pid NAME",
  format: "type --json",
  H: "type --address",
  host: "type --address",
  i: "type --attach",
  interactive: "type --attach",
  it: "type --attach --tty",
  n: "it stands before the command: ctr --namespace NAME images",
  name: "the id is an argument: ID BUNDLE",
  namespace: "it stands before the command: ctr --namespace NAME images",
  rm: "a container is removed when it ends",
  since: "type --timestamp TIME",
  ti: "type --attach --tty",
  "ctr json": "it belongs to a list: ctr containers --json",
  "list a": "all are listed: a container is gone when it has ended",
  "list all": "all are listed: a container is gone when it has ended",
  "containers a": "all are listed: a container is gone when it has ended",
  "containers all": "all are listed: a container is gone when it has ended",
  "kill f": "type --signal KILL",
  "kill force": "type --signal KILL",
  "pull u": "type --user NAME:PASSWORD",
  "push u": "type --user NAME:PASSWORD",
  "pull k": "a certificate of the registry's authority belongs into its directory of hosts.toml",
  "run net": "type --network",
  "run net-host": "type --network host",
  "start i": "type --attach; config.json says whether there is a terminal",
  "start it": "type --attach; config.json says whether there is a terminal",
  "start t": "type --attach; config.json says whether there is a terminal",
  "start ti": "type --attach; config.json says whether there is a terminal",
  "start tty": "type --attach; config.json says whether there is a terminal",
  "state json": "it prints JSON as it is",
  "stats json": "it prints JSON as it is",
  "stats no-stream": "without --watch there is just one",
  "watch json": "it prints JSON as it is",
};

/** What to type in place of a command that is another program's; undefined when nobody is known to type it. */
export function hintFor(word: string): string | undefined {
  return Object.hasOwn(HABITS, word) ? HABITS[word] : undefined;
}

/** The same for a flag, without its dashes, of a command, by its own name. */
export function hintForFlag(name: string, command: string): string | undefined {
  if (command === "kill" && /^(?:\d+|[A-Z]{2,}\d*)$/.test(name)) return `type --signal ${name}`;
  const key = [`${command} ${name}`, name].find((key) => Object.hasOwn(FLAG_HABITS, key));
  return key === undefined ? undefined : FLAG_HABITS[key];
}

/** What to type in place of `task kill` and its like. */
function hintForGroup(word: string, rest: readonly string[], program: Command): string | undefined {
  const group = Object.hasOwn(GROUPS, word) && program.commands.find((command) => command.name() === GROUPS[word]);
  if (!group) return undefined;
  const next = rest.find((word) => !word.startsWith("-")) ?? "";
  // Docker's word, whose containers are those of images.
  const name = next === "ls" || next === "list" ? "ps" : next;
  const ofImages = word === "container" && program.commands.find((command) => command.name() === name);
  if (ofImages) return `type: ctr ${name} ${ofImages.usage()}`;
  const here = group.commands.find((command) => command.name() === next || command.aliases().includes(next));
  const type = `type: ctr ${group.name()}${here ? ` ${here.name()} ${here.usage()}` : ""}`;
  return here === undefined && group.name() === "containers" ? (hintFor(next) ?? type) : type;
}

/**
 * Looks for a command that there is not before any flag is read: it is what is wrong, not the flags that it was given.
 * @returns the word in place of a command of ctr itself for which there is no hint: commander knows similar ones
 * @throws Error that quotes the word, with what to type instead
 */
export function findUnknownCommand(argv: readonly string[], program: Command): string | undefined {
  const { command, first, unknownFlag, rest } = destination(argv, program);
  if (first === undefined || first === "help" || command.commands.length === 0) return undefined;
  const hint = hintForGroup(first, rest, program) ?? hintFor(first);
  // `-n default containers`: the word is that flag's value. The flag is what will be complained of.
  if (hint === undefined && unknownFlag !== undefined && hintForFlag(unknownFlag, command.name())) return undefined;
  if (command === program) {
    if (hint === undefined) return first;
    throw new Error(`unknown command '${first}': ${hint}`);
  }
  // `ctr containers ID` is a command line, too; an id stands alone there.
  if (rest.every((word) => isFlagOf(command, word))) return undefined;
  throw new Error(`unknown command "${first}" for "ctr ${command.name()}"${hint ? `: ${hint}` : ""}`);
}

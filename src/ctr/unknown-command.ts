import type { Command } from "commander";
import { destination, isFlagOf } from "../flags/go-argv.js";

const start = "ctr containers start --attach ID BUNDLE";
const none = "this containerd has no";

/** What other programs' users type (ctr of containerd 1.x, nerdctl, docker, podman), and what to type here. */
const habits: Record<string, string> = {
  attach: `attach at the start: ${start}`,
  c: "type: ctr containers",
  checkpoint: "type: ctr checkpoints create ID NAME",
  container: "type: ctr containers",
  content: `${none} images, it starts bundles`,
  create: `a container is created and started at once: ${start}`,
  delete: "a container is removed when it ends: ctr containers kill --signal KILL ID",
  exec: "type: ctr containers exec --id ID --pid NAME --attach [--tty] COMMAND",
  image: `${none} images, it starts bundles: ${start}`,
  images: `${none} images, it starts bundles: ${start}`,
  info: "type: ctr containers state ID",
  inspect: "type: ctr containers state ID",
  kill: "type: ctr containers kill --signal KILL ID",
  leases: `${none} leases`,
  logs: `output goes to whoever has started the container: ${start}`,
  ls: "type: ctr containers list",
  metrics: "type: ctr containers stats ID",
  namespace: `${none} namespaces`,
  namespaces: `${none} namespaces`,
  ns: `${none} namespaces`,
  pause: "type: ctr containers pause ID",
  plugins: `${none} plugins`,
  ps: "type: ctr containers list",
  pull: `${none} images, it starts bundles: ${start}`,
  push: `${none} images, it starts bundles`,
  resume: "type: ctr containers resume ID",
  rm: "a container is removed when it ends: ctr containers kill --signal KILL ID",
  run: `type: ${start} (BUNDLE: a folder with config.json and a root file system; there are no images)`,
  snapshots: `${none} snapshots`,
  start: `type: ${start}`,
  stats: "type: ctr containers stats --watch",
  stop: "type: ctr containers kill ID",
  t: "type: ctr containers",
  task: "type: ctr containers",
  tasks: "type: ctr containers",
  top: "type: ctr containers stats --watch",
  unpause: "type: ctr containers resume ID",
  update: "type: ctr containers update ID",
  wait: `wait from the start on: ${start}`,
};

/** The same for flags. */
const flagHabits: Record<string, string> = {
  d: "without --attach it runs detached",
  detach: "without --attach it runs detached",
  "exec-id": "type --pid NAME",
  i: "type --attach",
  interactive: "type --attach",
  it: "type --attach --tty",
  n: `${none} namespaces`,
  name: "the id is an argument: ID BUNDLE",
  namespace: `${none} namespaces`,
  rm: "a container is removed when it ends",
  ti: "type --attach --tty",
};

/** What to type in place of a command that is another program's; undefined when nobody is known to type it. */
export function hintFor(word: string): string | undefined {
  return Object.hasOwn(habits, word) ? habits[word] : undefined;
}

export function hintForFlag(name: string): string | undefined {
  return Object.hasOwn(flagHabits, name) ? flagHabits[name] : undefined;
}

/**
 * Looks for a command that there is not before any flag is read: it is what is wrong, not the flags that it was given.
 * @returns the word in place of a command of ctr itself for which there is no hint: commander knows similar ones
 * @throws Error that quotes the word, with what to type instead
 */
export function findUnknownCommand(argv: readonly string[], program: Command): string | undefined {
  const { command, first, rest } = destination(argv, program);
  if (first === undefined || first === "help" || command.commands.length === 0) return undefined;
  const hint = hintFor(first);
  if (command === program) {
    if (hint === undefined) return first;
    throw new Error(`unknown command '${first}': ${hint}`);
  }
  // `ctr containers ID` is a command line, too; an id stands alone there.
  if (rest.every((word) => isFlagOf(command, word))) return undefined;
  throw new Error(`unknown command "${first}" for "ctr ${command.name()}"${hint ? `: ${hint}` : ""}`);
}

import type { Command } from "commander";
import { describe, expect, test } from "vitest";
import { ctrProgram } from "./command-line/program.js";

function all(command: Command, path = "ctr"): [string, Command][] {
  return [
    [path, command],
    ...command.commands.flatMap((subcommand) => all(subcommand, `${path} ${subcommand.name()}`)),
  ];
}

function help(command: Command): string {
  let text = "";
  command.configureOutput({
    writeOut: (part) => {
      text += part;
    },
  });
  command.outputHelp();
  return text;
}

describe("every command", () => {
  const program = ctrProgram();
  test.each(all(program))("%s: its help ends with an example that starts with its name", (path, command) => {
    const example = help(command).split(/Examples?:\n/)[1];
    expect(example).toContain(
      `$ ${path === "ctr" ? "ctr " : path.startsWith("ctr completion") ? "ctr completion" : path}`,
    );
  });

  test("has a description, and so has every flag", () => {
    for (const [path, command] of all(program)) {
      expect(command.description(), path).not.toBe("");
      for (const option of command.options) expect(option.description, `${path} ${option.flags}`).not.toBe("");
    }
  });

  test("the original's commands and flags are there", () => {
    const flags = Object.fromEntries(
      all(program).map(([path, command]) => [path, command.options.map((option) => option.long?.slice(2))]),
    );
    expect(flags.ctr).toEqual(expect.arrayContaining(["debug", "address", "conn-timeout", "version"]));
    expect(flags["ctr containers start"]).toEqual(
      expect.arrayContaining([
        ...["checkpoint", "checkpoint-dir", "attach", "label", "no-pivot", "runtime", "runtime-args"],
      ]),
    );
    expect(flags["ctr containers exec"]).toEqual(
      expect.arrayContaining(["id", "pid", "attach", "cwd", "tty", "env", "uid", "gid"]),
    );
    expect(flags["ctr containers kill"]).toEqual(expect.arrayContaining(["pid", "signal"]));
    expect(flags["ctr containers update"]).toEqual(
      expect.arrayContaining([
        ...[
          "memory-limit",
          "memory-reservation",
          "memory-swap",
          "cpu-quota",
          "cpu-period",
          "cpu-shares",
          "kernel-limit",
        ],
        ...["kernel-tcp-limit", "blkio-weight", "cpuset-cpus", "cpuset-mems", "pids-limit"],
      ]),
    );
    expect(flags["ctr checkpoints create"]).toEqual(
      expect.arrayContaining(["tcp", "unix-sockets", "exit", "shell", "checkpoint-dir", "empty-ns"]),
    );
    expect(flags["ctr events"]).toContain("timestamp");
    for (const path of ["containers list", "containers state", "containers watch", "containers pause"])
      expect(flags).toHaveProperty([`ctr ${path}`]);
    for (const path of ["containers resume", "checkpoints delete", "checkpoints list", "state", "version"])
      expect(flags).toHaveProperty([`ctr ${path}`]);
  });
});

import { Command } from "commander";
import { describe, expect, test } from "vitest";
import { goArgv } from "./argv.js";
import { FlagError } from "./flag-error.js";

interface Seen {
  command?: string;
  args?: string[];
  options?: Record<string, unknown>;
  global?: Record<string, unknown>;
}

/** A program shaped like ctr, and what its actions were called with. */
function program(): { program: Command; seen: Seen } {
  const seen: Seen = {};
  const root = new Command("ctr").enablePositionalOptions().exitOverride();
  root.option("--debug", "").option("--address <address>", "").option("-r, --runtime <name>", "");
  const record = (name: string, command: Command) => {
    command.action(() => {
      Object.assign(seen, { command: name, args: command.args, options: command.opts(), global: root.opts() });
    });
    return command;
  };
  const containers = record("containers", root.command("containers").argument("[id]"));
  record(
    "start",
    containers
      .command("start")
      .argument("<id>")
      .argument("<bundle>")
      .option("-a, --attach", "")
      .option("-l, --label <label...>", "")
      .option("--no-pivot", ""),
  );
  record(
    "exec",
    containers
      .command("exec")
      .argument("<cmd...>")
      .option("--id <id>", "")
      .option("--pid <pid>", "")
      .option("-t, --tty", "")
      .passThroughOptions(),
  );
  return { program: root, seen };
}

function parse(...argv: string[]): Seen {
  const { program: root, seen } = program();
  root.parse(goArgv(argv, root), { from: "user" });
  return seen;
}

describe("goArgv", () => {
  test("one dash, two dashes, with and without =", () => {
    for (const words of [["-id", "x"], ["--id", "x"], ["-id=x"], ["--id=x"]])
      expect(parse("containers", "exec", ...words, "ls").options).toEqual({ id: "x" });
  });

  test("a value may look like a flag, hold = and be empty", () => {
    expect(parse("-address", "-x", "containers").global).toEqual({ address: "-x" });
    expect(parse("--address=a=b", "containers").global).toEqual({ address: "a=b" });
    expect(parse("--address", "", "containers").global).toEqual({ address: "" });
    expect(parse("--address=", "containers").global).toEqual({ address: "" });
  });

  test("booleans", () => {
    expect(parse("-debug", "containers").global).toEqual({ debug: true });
    expect(parse("--debug=true", "containers").global).toEqual({ debug: true });
    expect(parse("--debug=F", "containers").global).toEqual({});
    expect(parse("--debug", "--debug=false", "containers").global).toEqual({});
    expect(() => parse("--debug=maybe", "containers")).toThrow('invalid boolean value "maybe" for -debug');
  });

  test("the arguments of a command that runs a command line are left alone", () => {
    const seen = parse("containers", "exec", "--id", "C", "-pid", "P", "ls", "-l", "--id=x", "--", "-t");
    expect(seen).toMatchObject({ command: "exec", args: ["ls", "-l", "--id=x", "--", "-t"] });
    expect(seen.options).toEqual({ id: "C", pid: "P" });
    expect(parse("containers", "exec", "-t", "--", "-weird", "-t").args).toEqual(["-weird", "-t"]);
  });

  test("flags may follow arguments elsewhere, up to --", () => {
    const seen = parse("containers", "start", "C", "/b", "--attach", "-label", "a=1", "-l", "b");
    expect(seen).toMatchObject({ command: "start", args: ["C", "/b"], options: { attach: true, label: ["a=1", "b"] } });
    expect(parse("containers", "start", "-no-pivot", "C", "/b").options).toEqual({ pivot: false });
    expect(parse("containers", "start", "--no-pivot=false", "C", "/b").options).toEqual({ pivot: true });
    expect(parse("containers", "start", "--", "C", "--attach").args).toEqual(["C", "--attach"]);
  });

  test("a repeated flag does not swallow arguments", () => {
    expect(parse("containers", "start", "-l", "a", "C", "/b")).toMatchObject({
      args: ["C", "/b"],
      options: { label: ["a"], pivot: true },
    });
  });

  test("flags belong to the level they are written at", () => {
    expect(() => parse("containers", "--address", "x")).toThrow("flag provided but not defined: -address");
    expect(parse("-r", "crun", "containers", "start", "C", "/b").global).toEqual({ runtime: "crun" });
  });

  test("unknown flags, also clusters, and missing values are refused in Go's words", () => {
    expect(() => parse("--nope=1")).toThrow(new FlagError("flag provided but not defined: -nope", "nope"));
    expect(() => parse("containers", "start", "-al", "x")).toThrow("flag provided but not defined: -al");
    expect(() => parse("containers", "exec", "-id")).toThrow("flag needs an argument: -id");
  });

  test("a command's own arguments, a lone dash and help", () => {
    expect(parse("containers", "web")).toMatchObject({ command: "containers", args: ["web"] });
    expect(parse("containers", "start", "-", "/b").args).toEqual(["-", "/b"]);
    const { program: root } = program();
    expect(goArgv(["containers", "-h"], root)).toEqual(["containers", "--help"]);
    expect(goArgv(["help", "containers"], root)).toEqual(["help", "containers"]);
  });
});

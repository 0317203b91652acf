/** The scripts of `ctr completion`, in the shells that they are for. */
import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ctrProgram } from "../../src/ctr/command-line/program.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { ctrProgram as ctrFile, findProgram } from "../harness/paths.js";
import { ctr, ctrEnvironment, ctrError } from "./ctr.js";
import { Screen } from "./screen.js";

/** What there is to complete, from the commands themselves: the words of a command line, then the subcommands and flags there. */
const levels = levelsOf(ctrProgram());

function levelsOf(
  command: Command,
  words: string[] = ["ctr"],
): { words: string[]; commands: string[]; flags: string[] }[] {
  return [
    {
      words,
      commands: command.commands.map((sub) => sub.name()),
      flags: [...command.options.map(({ long }) => long!), "--help"],
    },
    ...command.commands.flatMap((sub) => levelsOf(sub, [...words, sub.name()])),
  ];
}

let daemon: TestDaemon;
/** Two containers, and the daemon's address is not the default one. */
let [web, database]: string[] = [];
/** The scripts, and a folder with ctr as a program: it knows no address. */
let directory: string;

beforeAll(async () => {
  daemon = await startDaemon();
  [web, database] = [daemon.id("web"), daemon.id("database")];
  const bundle = daemon.bundle("sleeping", { args: ["sleep", "1000"] });
  for (const id of [web, database]) await ctr(daemon, "containers", "start", id, bundle);
  directory = join(daemon.dir, "completion");
  for (const name of ["bin", "functions", "bundles/one", "bundles/with space"])
    mkdirSync(join(directory, name), { recursive: true });
  writeFileSync(join(directory, "bundles/file"), "");
  writeFileSync(join(directory, "bin/ctr"), `#!/bin/sh\nexec ${process.execPath} ${ctrFile} "$@"\n`);
  chmodSync(join(directory, "bin/ctr"), 0o755);
  writeFileSync(join(directory, "ctr.bash"), await ctr(daemon, "completion", "bash"));
  writeFileSync(join(directory, "functions/_ctr"), await ctr(daemon, "completion", "zsh"));
  writeFileSync(join(directory, "ctr.fish"), await ctr(daemon, "completion", "fish"));
});
afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
});

describe("names of images", () => {
  const names = ["docker.io/library/one:1", "docker.io/library/one:2", "registry.test/two:latest"];
  beforeAll(async () => {
    const archive = join(directory, "image.tar");
    execFileSync("tar", ["-cf", archive, "-C", directory, "bin"]);
    await ctr(daemon, "images", "import", "--quiet", "--rootfs", "--name", names[0]!, archive);
    await ctr(daemon, "images", "tag", names[0]!, names[1]!, names[2]!);
  });

  test("bash", () => {
    const address = `ctr --address ${daemon.listen}`;
    expect(
      bashCandidates(
        `${address} images rm `,
        `${address} images rm reg`,
        `${address} images rm docker.io/library/one:`,
        `${address} images rm ${names[2]} docker`,
        `${address} run reg`,
        `${address} run reg sh`,
        `${address} images export x.tar reg`,
        `${address} -n other images rm `,
      ),
    ).toEqual([names, [names[2]], ["1", "2"], names.slice(0, 2), [names[2]], [], [names[2]], []]);
  });
});

test("for bash, fish and zsh only", async () => {
  expect(await ctrError(daemon, "completion", "csh")).toContain("'csh'");
  expect(await ctrError(daemon, "completion")).toContain("shell");
});

/** How readline cuts a line into words: at blanks, and around `:` and `=`. */
function readlineWords(line: string): string[] {
  return line.split(/ +/).flatMap((word) => (word === "" ? [""] : word.match(/[:=]+|[^:=]+/g)!));
}

/** What bash is given to choose from at the end of each of these lines, in one bash. */
function bashCandidates(...lines: string[]): string[][] {
  const quote = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;
  const cases = lines.map((line) => {
    const words = readlineWords(line);
    return `COMP_LINE=${quote(line)} COMP_POINT=${line.length} COMP_WORDS=(${words.map(quote).join(" ")})
COMP_CWORD=${words.length - 1} COMPREPLY=()
_ctr; printf '%s\\n' "\${COMPREPLY[@]}"; echo ----`;
  });
  const script = `set -u; cd ${directory}; PATH=${directory}/bin:$PATH; source ctr.bash; complete -p ctr\n${cases.join("\n")}`;
  const output = execFileSync("bash", ["--norc", "--noprofile", "-c", script], {
    encoding: "utf8",
    env: ctrEnvironment(daemon),
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [registered, ...rest] = output.split("\n");
  expect(registered).toBe("complete -F _ctr ctr");
  const answers = rest.join("\n").split("----\n").slice(0, -1);
  expect(answers).toHaveLength(lines.length);
  return answers.map((answer) => answer.split("\n").filter((line) => line !== ""));
}

describe("bash: what is offered", () => {
  test("every command's subcommands and flags", () => {
    const withCommands = levels.filter(({ commands }) => commands.length > 0);
    expect(withCommands).toHaveLength(9);
    expect(bashCandidates(...withCommands.map(({ words }) => `${words.join(" ")} `))).toEqual(
      withCommands.map(({ commands }) => commands),
    );
    expect(bashCandidates(...levels.map(({ words }) => `${words.join(" ")} --`))).toEqual(
      levels.map(({ flags }) => flags),
    );
    expect(bashCandidates("ctr containers st", "ctr containers start --ch", "ctr events -")).toEqual([
      ["start", "state", "stats"],
      ["--checkpoint", "--checkpoint-dir"],
      ["--timestamp", "--json", "--quiet", "--help"],
    ]);
  });

  test("container ids, from the daemon that the line names, however it names it", () => {
    const path = daemon.listen.replace("unix://", "");
    const both = [database, web];
    for (const address of [`--address ${daemon.listen}`, `--address=${daemon.listen}`, `-address ${path}`]) {
      const at = `ctr ${address}`;
      expect(
        bashCandidates(
          `${at} containers kill `,
          `${at} containers kill --signal 9 ${web!.slice(0, -1)}`,
          `${at} containers exec --id `,
          `${at} containers exec --id=${database!.slice(0, -3)}`,
          `${at} checkpoints create `,
          `${at} containers stats ${web} `,
        ),
        address,
      ).toEqual([both, [web], both, [database], both, both]);
    }
    expect(bashCandidates(`ctr --conn-timeout 5s --address ${daemon.listen} containers pause `)[0]).toEqual(both);
    // One is enough for these; and the id of a new container is new.
    const at = `ctr --address ${daemon.listen}`;
    expect(
      bashCandidates(`${at} containers kill ${web} `, `${at} checkpoints create ${web} `, `${at} containers start `),
    ).toEqual([[], [], []]);
  });

  test("no daemon: no ids, and no words on the screen", () => {
    expect(bashCandidates("ctr --address unix:///nowhere containers kill ")).toEqual([[]]);
  });

  test("values of flags: signals, folders, files; nothing where nothing is known", () => {
    expect(
      bashCandidates(
        "ctr containers kill --signal ",
        "ctr containers kill -s K",
        "ctr containers kill --signal=T",
        "ctr containers start web bundles/",
        "ctr checkpoints create --checkpoint-dir=bund",
        "ctr --tls-ca bundles/f",
        "ctr completion ",
        "ctr containers start --label ",
        "ctr containers exec --cwd bund",
        "ctr containers exec --id web --pid x ls --",
      ).map((words) => words.toSorted()),
    ).toEqual([
      ["CONT", "HUP", "INT", "KILL", "QUIT", "STOP", "TERM", "USR1", "USR2"],
      ["KILL"],
      ["TERM"],
      ["bundles/one", "bundles/with space"],
      ["bundles"],
      ["bundles/file"],
      ["bash", "fish", "zsh"],
      [],
      [],
      [],
    ]);
  });
});

/** What fish offers at the end of each of these lines, without the descriptions. */
function fishCandidates(...lines: string[]): string[][] {
  const script = `cd ${directory}; set PATH ${directory}/bin $PATH; source ctr.fish\n${lines
    .map((line) => `complete -C '${line}'; echo ----`)
    .join("\n")}`;
  const output = execFileSync("fish", ["--no-config", "-c", script], {
    encoding: "utf8",
    env: { ...ctrEnvironment(daemon), HOME: directory },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const answers = output.split("----\n").slice(0, -1);
  expect(answers).toHaveLength(lines.length);
  return answers.map((answer) => answer.split("\n").flatMap((line) => (line === "" ? [] : line.split("\t")[0]!)));
}

const fish = findProgram("fish");
describe.skipIf(!fish)(fish ? "fish: what is offered" : "fish (skipped: no fish)", () => {
  test("every command's subcommands and flags", () => {
    const withCommands = levels.filter(({ commands }) => commands.length > 0);
    const words = fishCandidates(...withCommands.map((level) => `${level.words.join(" ")} `));
    for (const [index, level] of withCommands.entries())
      expect(words[index], level.words.join(" ")).toEqual(expect.arrayContaining(level.commands));
    const withFlags = levels.filter(({ flags }) => flags.length > 1);
    expect(
      fishCandidates(...withFlags.map((level) => `${level.words.join(" ")} --`)).map((flags) => flags.toSorted()),
    ).toEqual(
      // Those that are taken for granted are not offered.
      withFlags.map(({ flags }) => flags.filter((flag) => flag !== "--help").toSorted()),
    );
  });

  test("container ids, signals, folders, files; nothing behind the command of an exec", () => {
    const at = `ctr --address ${daemon.listen}`;
    const offered = fishCandidates(
      `${at} containers kill `,
      `ctr --address=${daemon.listen} containers exec --id ${web!.slice(0, -1)}`,
      `ctr -a ${daemon.listen} checkpoints create `,
      `${at} containers stats ${web} `,
      `${at} containers kill ${web} `,
      "ctr --address unix:///nowhere containers kill ",
      "ctr containers kill --signal K",
      "ctr containers start web bundles/",
      "ctr --tls-ca bundles/f",
      "ctr completion ",
      "ctr containers exec --id web --pid x ls --",
    ).map((words) => words.toSorted());
    const both = [database, web];
    expect(offered).toEqual([
      ...[both, [web], both, both, [], []],
      ...[["KILL"], ["bundles/one/", "bundles/with space/"], ["bundles/file"], ["bash", "fish", "zsh"], []],
    ]);
  });
});

const tmux = findProgram("tmux");
describe.skipIf(!tmux)(tmux ? "bash: the Tab key" : "bash: the Tab key (skipped: no tmux)", () => {
  test("completes commands, flags, ids behind an address, and folders", async () => {
    using screen = new Screen(daemon);
    screen.line(`unset -f ctr; cd ${directory}; PATH=${directory}/bin:$PATH; source <(ctr completion bash); clear`);
    await screen.shows(/^host>$/);
    await tab(screen, "ctr conta", /^host> ctr containers$/m);
    await tab(screen, "ki", /^host> ctr containers kill$/m);
    await tab(screen, "--sig", /^host> ctr containers kill --signal$/m);
    await tab(screen, "K", /^host> ctr containers kill --signal KILL$/m);
    await next(screen);
    await tab(
      screen,
      `ctr --address ${daemon.listen} containers pause ${web!.slice(0, -2)}`,
      new RegExp(`pause ${web}$`, "m"),
    );
    await next(screen);
    await tab(
      screen,
      `ctr --address=${daemon.listen} containers exec --id=${web!.slice(0, -2)}`,
      new RegExp(`--id=${web}$`, "m"),
    );
    await next(screen);
    await tab(screen, "ctr containers start new bundles/w", /start new bundles\/with\\ space\/$/m);
    await next(screen);
    await tab(screen, "ctr containers kill --signal=K", /kill --signal=KILL$/m);
  });
});

const zsh = findProgram("zsh");
const lacking = [tmux ? [] : ["tmux"], zsh ? [] : ["zsh"]].flat();
describe.skipIf(lacking.length > 0)(lacking.length === 0 ? "zsh" : `zsh (skipped: no ${lacking.join(", no ")})`, () => {
  /** A zsh with nobody's settings, and the completion: sourced, or found in $fpath. */
  async function startZsh(how: "sourced" | "autoloaded"): Promise<Screen> {
    // Wide, so that the lines of a long address do not wrap; high, so that no list has to be asked for.
    const screen = new Screen(daemon, { shell: ["zsh", "-f"], columns: 180, rows: 50 });
    const compinit = "autoload -Uz compinit; compinit -D -u";
    const load =
      how === "sourced"
        ? `${compinit}; source <(ctr completion zsh)`
        : `fpath=(${directory}/functions $fpath); ${compinit}`;
    screen.line(`unfunction ctr; cd ${directory}; PATH=${directory}/bin:$PATH; ${load}; LISTMAX=1000; clear`);
    await screen.shows(/^host>$/);
    return screen;
  }

  test.each(["sourced", "autoloaded"] as const)("%s: commands with what they do, flags, ids, folders", async (how) => {
    using screen = await startZsh(how);
    await tab(screen, "ctr ", /^containers +-- work with containers; without a command: list them$/m);
    await next(screen);
    await tab(screen, "ctr conta", /^host> ctr containers$/m);
    await tab(screen, "ki", /^host> ctr containers kill$/m);
    await tab(screen, "--sig", /^host> ctr containers kill --signal$/m);
    await tab(screen, "K", /^host> ctr containers kill --signal KILL$/m);
    await next(screen);
    await tab(
      screen,
      `ctr --address ${daemon.listen} containers pause ${web!.slice(0, -2)}`,
      new RegExp(`pause ${web}$`, "m"),
    );
    await next(screen);
    await tab(
      screen,
      `ctr --address=${daemon.listen} containers exec --id=${web!.slice(0, -2)}`,
      new RegExp(`--id=${web}$`, "m"),
    );
    await next(screen);
    await tab(screen, "ctr containers start new bundles/w", /start new bundles\/with\\ space\/$/m);
    await next(screen);
    await tab(screen, "ctr containers kill --signal=K", /kill --signal=KILL$/m);
    await next(screen);
    await tab(screen, "ctr completion z", /^host> ctr completion zsh$/m);
  });

  test("every command's subcommands and flags", async () => {
    using screen = await startZsh("sourced");
    for (const { words, commands, flags } of levels) {
      if (commands.length > 0) {
        screen.type(`${words.join(" ")} `);
        screen.keys("Tab");
        for (const name of commands) await screen.shows(new RegExp(`^${name} +-- `, "m"));
        await next(screen);
      }
      screen.type(`${words.join(" ")} --`);
      screen.keys("Tab");
      if (flags.length === 1) await screen.shows(`${words.join(" ")} --help`);
      else {
        for (const flag of flags) await screen.shows(new RegExp(`(^|\\s)${flag}(\\s|$)`, "m"));
        // And no others.
        const offered = screen.text.replace(/^host>.*$/m, "").match(/--[\w-]+/g);
        expect(offered?.toSorted(), words.join(" ")).toEqual(flags.toSorted());
      }
      await next(screen);
    }
  });

  test("ids of containers are listed, and nothing is said when there is no daemon", async () => {
    using screen = await startZsh("sourced");
    screen.type(`ctr --address ${daemon.listen} checkpoints create `);
    // What both have in common, then the two.
    screen.keys("Tab", "Tab");
    await screen.shows(new RegExp(`^host> .*\\n${database} +${web}$`, "m"));
    await next(screen);
    screen.type("ctr --address unix:///nowhere containers kill ");
    screen.keys("Tab");
    screen.type("x");
    expect((await screen.shows(/kill x$/m)).trim()).toBe("host> ctr --address unix:///nowhere containers kill x");
  });
});

/** Types, presses Tab, and waits for what the line has become. */
async function tab(screen: Screen, text: string, becomes: RegExp): Promise<void> {
  screen.type(text);
  screen.keys("Tab");
  await screen.shows(becomes);
}

/** An empty line on an empty screen. */
async function next(screen: Screen): Promise<void> {
  screen.keys("C-u");
  screen.line("clear");
  await screen.shows(/^host>$/);
}

/** Ids of containers are chosen by whoever starts them; a shell that completes them must not run what they say. */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ctr, ctrCommand } from "../ctr/ctr.js";
import { Screen } from "../ctr/screen.js";
import { inCgroupV1 } from "../harness/cgroup-v2.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { cases } from "../harness/extent.js";
import { findProgram } from "../harness/paths.js";
import { eventually } from "../harness/wait.js";

/** What follows the test's own prefix and a number that makes each id the only one that a Tab can mean. */
const HOSTILE = [
  "$(touch ran)",
  "`touch ran`",
  ";touch ran;",
  "&touch ran&",
  "|touch ran",
  ">ran",
  "'\"\\",
  "* ~ {a,b} ? [x]",
  "(touch ran)",
  "#$HOME!!",
];

let daemon: TestDaemon;
let ids: string[];
let folder: string;

beforeAll(async () => {
  // runc takes no such ids.
  daemon = await startDaemon({ wrapper: inCgroupV1(), flags: ["--runtime", "crun"] });
  ids = HOSTILE.map((name, index) => daemon.id(`${index}x${name}`));
  const bundle = daemon.bundle("sleeping", { args: ["sleep", "1000"] });
  await Promise.all(ids.map((id) => daemon.api.createContainer({ id, bundlePath: bundle })));
  folder = join(daemon.dir, "folder");
  mkdirSync(folder);
  writeFileSync(join(folder, "ctr"), `#!/bin/sh\nexec ${ctrCommand(daemon).join(" ")} "$@"\n`, { mode: 0o755 });
});
afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
});

const SHELLS = [
  { name: "bash", command: ["bash", "--norc", "--noprofile"], load: "source <(ctr completion bash)" },
  {
    name: "zsh",
    command: ["zsh", "-f"],
    load: "autoload -U compinit && compinit -u -d zcompdump && source <(ctr completion zsh)",
  },
  {
    name: "fish",
    // The screen's first words are for other shells.
    command: ["bash", "--norc", "--noprofile"],
    load: `PATH=$PWD:$PATH exec fish --no-config -C 'function fish_prompt; echo "host> "; end; ctr completion fish | source'`,
  },
];

const tmux = findProgram("tmux");
describe.each(cases(SHELLS))("$name", ({ name, command, load }) => {
  const missing = [tmux ? undefined : "tmux", findProgram(name) ? undefined : name].filter((program) => program);
  const why = missing.length > 0 ? ` (skipped: no ${missing.join(", ")})` : "";
  test.skipIf(missing.length > 0)(`Tab and Enter hand the very id to ctr, and run nothing of it${why}`, async () => {
    using screen = new Screen(daemon, { columns: 200, shell: command });
    screen.line(`cd ${folder}; ${load}`);
    screen.line("clear");
    await screen.shows(/^host>\s*$/);
    for (const [index, id] of ids.entries()) {
      screen.type(`ctr containers list --json ${daemon.id(`${index}x`)}`);
      screen.keys("Tab");
      // The quoted form differs from shell to shell; that it is longer than what was typed shows that the Tab has been answered.
      await screen.shows(new RegExp(`${daemon.id(`${index}x`)}[^\\s]`));
      screen.line(` >found-${name}-${index} 2>&1`);
      const found = join(folder, `found-${name}-${index}`);
      await eventually(() => existsSync(found) && readFileSync(found, "utf8").endsWith("\n"), { what: found });
      expect(JSON.parse(readFileSync(found, "utf8"))).toMatchObject({ id });
      screen.line("clear");
      await screen.shows(/^host>\s*$/);
    }
    expect(readdirSync(folder).filter((file) => file.startsWith("ran"))).toEqual([]);
  });
});

test("the ids are listed as they are, for a program", async () => {
  expect((await ctr(daemon, "containers", "list", "--quiet")).trimEnd().split("\n")).toEqual(ids.toSorted());
});

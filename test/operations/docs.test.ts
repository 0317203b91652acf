/**
 * Every command line in the documentation is run: the ```sh blocks of a document, one after the other in one shell, as root, with the
 * three programs on the PATH. /run and the processes are the document's own, so the default socket is free. A block that cannot be run here
 * says why: "```sh not-run: <reason>".
 */
import { spawn, spawnSync } from "node:child_process";
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { expect, test } from "vitest";
import { daemonEnvironment } from "../harness/daemon.js";
import { ctrProgram, daemonProgram, repository, shimProgram } from "../harness/paths.js";
import { within } from "../harness/wait.js";
import { documents, type Fence, fences, reasonNotToRun } from "./markdown.js";

const { scripts } = JSON.parse(readFileSync(join(repository, "package.json"), "utf8")) as {
  scripts: Record<string, string>;
};

const TIMEOUT = 120_000;

/** What a block with commands begins with, or has at the beginning of a line. */
const COMMAND_LINE = /^(\$ |# )?(apt(-get)?|containerd|ctr|curl|git|kill|node|npm|npx|promtool|runc|sudo|systemctl) /m;

interface Outcome {
  status: number | null;
  output: string;
  /** What is in the folder that they were started in, and in that for temporary files. */
  left: string[];
}

/** Runs blocks in a mount and process namespace that ends with everything in it. */
async function run(blocks: Fence[]): Promise<Outcome> {
  const dir = mkdtempSync(join(tmpdir(), "ctd-docs-"));
  for (const name of ["bin", "run", "home", "tmp"]) mkdirSync(join(dir, name));
  symlinkSync(daemonProgram, join(dir, "bin/containerd"));
  symlinkSync(ctrProgram, join(dir, "bin/ctr"));
  symlinkSync(shimProgram, join(dir, "bin/containerd-shim"));
  const script = [
    "set -eE -o pipefail",
    `mount --bind ${dir}/run /run`,
    "cd",
    ...blocks.map(
      ({ line, text }) => `echo "@@ line ${line}"\ntrap 'echo "@@ failed: the block at line ${line}"' ERR\n${text}`,
    ),
    "exit 0",
  ].join("\n");
  writeFileSync(join(dir, "script"), script);
  const log = openSync(join(dir, "log"), "w");
  const child = spawn(
    "unshare",
    ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", join(dir, "script")],
    {
      env: {
        ...daemonEnvironment(),
        PATH: `${dir}/bin:${daemonEnvironment().PATH}`,
        HOME: join(dir, "home"),
        TMPDIR: join(dir, "tmp"),
      },
      stdio: ["ignore", log, log],
    },
  );
  closeSync(log);
  try {
    const status = await within(
      new Promise<number | null>((resolve, reject) => {
        child.once("error", reject);
        child.once("exit", resolve);
      }),
      "the end of the commands",
      TIMEOUT,
    ).catch((error: Error) => {
      throw new Error(`${error.message}:\n${readFileSync(join(dir, "log"), "utf8")}`);
    });
    const left = ["home", "tmp"].flatMap((name) => readdirSync(join(dir, name)));
    return { status, output: readFileSync(join(dir, "log"), "utf8"), left };
  } finally {
    child.kill("SIGKILL");
    // The processes are gone with their namespace; what a failed document has left of its containers are empty cgroups.
    const left = existsSync(join(dir, "run/runc")) ? readdirSync(join(dir, "run/runc")) : [];
    for (const id of left)
      spawnSync("find", ["/sys/fs/cgroup", "-depth", "-type", "d", "-name", id, "-exec", "rmdir", "{}", ";"]);
    rmSync(dir, { recursive: true, force: true });
  }
}

for (const path of documents()) {
  const name = relative(repository, path);
  const all = fences(readFileSync(path, "utf8"));
  const commands = all.filter(({ language }) => language === "sh");

  test(`${name}: its commands are marked as such, and those that are not run say why`, () => {
    for (const { line, language, text } of all) {
      const where = `${name}:${line}`;
      expect(language, `${where}: commands are in blocks of the language sh`).not.toMatch(/^(bash|shell|console|zsh)$/);
      if (language === "" || language === "text")
        expect(text, `${where}: commands are in blocks of the language sh`).not.toMatch(COMMAND_LINE);
    }
    for (const { line, info } of commands) expect(info, `${name}:${line}`).toMatch(/^$|^not-run: .{10,}$/);
  });

  const runnable = commands.filter((fence) => reasonNotToRun(fence) === undefined);
  if (runnable.length === 0) continue;
  test(
    `${name}: its commands work, and leave no file where they are typed`,
    async () => {
      const { status, output, left } = await run(runnable);
      expect(status, output).toBe(0);
      expect(left).toEqual([]);
    },
    TIMEOUT + 20_000,
  );
}

test(
  "README.md: the tour that it offers works",
  () => {
    expect(scripts.demo).toBe("node scripts/run-typescript.mjs test/demo.ts");
    const { status, stdout, stderr } = spawnSync("node", ["scripts/run-typescript.mjs", "test/demo.ts"], {
      cwd: repository,
      encoding: "utf8",
      env: daemonEnvironment(),
      timeout: TIMEOUT,
    });
    expect(status, `${stdout}${stderr}`).toBe(0);
    expect(stdout).toContain("nothing is left");
  },
  TIMEOUT + 20_000,
);

test("README.md: npm start is the daemon, and both programs list their flags", () => {
  expect(scripts.start).toBe("dist/bin/containerd.js");
  for (const program of ["containerd.js", "ctr.cjs"]) {
    const { status, stdout } = spawnSync(join(repository, "dist/bin", program), ["--help"], {
      encoding: "utf8",
    });
    expect(status).toBe(0);
    expect(stdout).toMatch(/Usage: /);
  }
});

test("a command that fails is found, with its line", async () => {
  const { status, output } = await run(
    fences("# x\n\n```sh\necho first\n```\n\n```sh\necho second\nfalse\necho third\n```\n"),
  );
  expect(status).toBe(1);
  expect(output).toContain("@@ failed: the block at line 7");
  expect(output).not.toContain("third");
});

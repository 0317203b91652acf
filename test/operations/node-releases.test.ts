/** The releases of Node that are supported, besides the one that runs all tests: the daemon, the client library and ctr run on each. */
import { execFile } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { startContainer } from "../harness/container.js";
import { startDaemon } from "../harness/daemon.js";
import { startExec } from "../harness/exec.js";
import { ctrProgram, nodeRelease, repository } from "../harness/paths.js";
import { sharedRootfs } from "../harness/rootfs.js";

const run = promisify(execFile);
const RELEASES = [20, 22, 24, 26];
const own = Number(process.versions.node.split(".")[0]);

test.each([".", "packages/client", "packages/containerd"])("the oldest of them is what %s asks for", (folder) => {
  const { engines } = JSON.parse(readFileSync(join(repository, folder, "package.json"), "utf8"));
  expect(engines.node).toBe(`>=${RELEASES[0]}`);
});

describe.each(RELEASES.filter((major) => major !== own))("Node %i", (major) => {
  const node = nodeRelease(major)!;

  test.skipIf(!node)(
    `a container, an exec, a restart, the client library and ctr${node ? "" : " (skipped: not here)"}`,
    async () => {
      await using daemon = await startDaemon({ node });
      const container = await startContainer(daemon, {
        name: "c",
        args: ["sh", "-c", "echo up; sleep 1000"],
        stdio: true,
      });
      await container.printed("up\n");
      using exec = await startExec(daemon, container, {
        pid: "e",
        args: ["sh", "-c", "echo exec; exit 4"],
        stdio: true,
      });
      expect(await exec.exit()).toBe(4);
      expect((await exec.output()).stdout).toBe("exec\n");
      await daemon.restart({ kill: true });
      expect((await daemon.api.state()).containers).toMatchObject([{ id: container.id, status: "running" }]);

      const program = join(daemon.dir, "program.mjs");
      const library = pathToFileURL(join(repository, "dist/client/index.cjs")).href;
      writeFileSync(
        program,
        `import { connect } from ${JSON.stringify(library)};
const client = connect(process.argv[2]);
const { stdout, status } = await client.v0.run({ rootfs: process.argv[3], args: ["sh", "-c", "cat; exit 3"], input: "hello" });
console.log(process.version, stdout, status);
client.close();
`,
      );
      const env = { PATH: process.env.PATH ?? "", TMPDIR: daemon.dir };
      const { stdout, stderr } = await run(node, [program, daemon.listen, sharedRootfs()], { env });
      expect(stdout).toMatch(new RegExp(`^v${major}\\..* hello 3\n$`));
      expect(stderr).toBe("");

      // The code that V8 compiled for ctr when it was built is another release's: it does without, and says nothing of it.
      const ctr = (...args: string[]) => run(node, [ctrProgram, "--address", daemon.listen, ...args], { env });
      const listed = await ctr("containers");
      expect(listed.stdout).toContain(container.id);
      expect(listed.stderr).toBe("");
      const attached = await ctr(
        "containers",
        "exec",
        "--id",
        container.id,
        "--pid",
        "x",
        "--attach",
        "echo",
        "from ctr",
      );
      expect(attached).toMatchObject({ stdout: "from ctr\n", stderr: "" });
      expect((await ctr("containers", "kill", "--signal", "KILL", container.id)).stderr).toBe("");
      expect(await container.exit()).toBe(137);
      await daemon.expectNothingLeft();
    },
  );
});

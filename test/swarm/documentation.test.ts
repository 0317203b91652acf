/**
 * The commands of docs/operations.md that take machines: Docker on our daemon, and a Swarm of two. A block says where it is run: "on the
 * first machine", "on the second machine", "on both machines".
 */
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { full } from "../harness/extent.js";
import { Machine } from "../harness/machine.js";
import { ctrProgram, daemonProgram, repository, shimProgram, unpackedProgram } from "../harness/paths.js";
import { sharedRootfs } from "../harness/rootfs.js";
import { eventually } from "../harness/wait.js";
import { fences, reasonNotToRun } from "../operations/markdown.js";

const dockerd = unpackedProgram("dockerd");

/** A machine on which both are installed, and nothing runs yet. */
class InstalledMachine extends Machine {
  override get environment(): Record<string, string> {
    const { PATH, ...others } = super.environment;
    return { ...others, PATH: `${this.dir}/bin:${dirname(dockerd!)}:${PATH}` };
  }

  override async start(): Promise<void> {
    await super.start();
    mkdirSync(join(this.dir, "bin"));
    for (const program of [daemonProgram, shimProgram, ctrProgram]) {
      symlinkSync(program, join(this.dir, "bin", basename(program).replace(/\.c?js$/, "")));
    }
    // Its containers are known as this machine's by their cgroup.
    const settings = join(this.dir, "daemon.json");
    writeFileSync(settings, JSON.stringify({ "cgroup-parent": `/${basename(this.dir)}-docker` }));
    await this.shell(`mkdir -p /etc/docker /var/log; cp ${settings} /etc/docker/daemon.json`);
  }
}

const machines: Machine[] = [];
beforeAll(async () => {
  if (!full || dockerd === undefined) return;
  machines.push(new InstalledMachine("first"), new InstalledMachine("second"));
  await Promise.all(machines.map((machine) => machine.start()));
  await machines[0]!.connect(machines[1]!);
});
afterAll(async () => {
  await Promise.all(machines.map((machine) => machine[Symbol.asyncDispose]()));
});

// A second path of what test/swarm/swarm.test.ts goes.
describe.skipIf(!full || dockerd === undefined)("docs/operations.md", () => {
  test("its commands for machines with Docker work", async () => {
    const blocks = fences(readFileSync(join(repository, "docs/operations.md"), "utf8")).flatMap((fence) => {
      const where =
        /test\/swarm\/documentation\.test\.ts runs it on (the first machine|the second machine|both machines)$/;
      const place = where.exec(reasonNotToRun(fence) ?? "")?.[1];
      return place === undefined ? [] : [{ ...fence, place }];
    });
    expect(blocks.length).toBeGreaterThan(5);
    let last = "";
    for (const { place, text, line } of blocks) {
      const chosen = machines.filter(
        (_, index) => place === "both machines" || (place === "the second machine") === (index === 1),
      );
      const script = `set -e\n${text.replaceAll("TOKEN", last.split("\n").at(-1)!)}`;
      const said = await Promise.all(
        chosen.map((machine) =>
          machine.shell(script).catch((error) => {
            throw new Error(`docs/operations.md, line ${line}: ${error.message}`);
          }),
        ),
      );
      last = said[0]!;
      // What a user would pull.
      if (place === "both machines") {
        await Promise.all(
          machines.map((machine) => machine.shell(`tar -C ${sharedRootfs()} -c . | docker import - busybox`)),
        );
      }
    }
    // The last command shows where the clients are: those of the machine for repair go to the other one.
    const shown = "docker service ps --filter desired-state=running --format '{{.Node}} {{.CurrentState}}' clients";
    await eventually(async () => {
      const rows = (await machines[0]!.shell(shown)).split("\n");
      expect(rows).toHaveLength(4);
      for (const row of rows) expect(row).toMatch(/^first Running /);
      return true;
    });
  });
});

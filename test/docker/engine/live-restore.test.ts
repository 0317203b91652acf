/**
 * dockerd's --live-restore: dockerd, its containerd, or both are killed, and the containers go on as if nothing had been.
 *
 * A line that dockerd has read, and not yet written to its log, ends with it, whoever is below. So the containers are silent in the moment
 * in which dockerd is killed, and print before and after it.
 */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { Random } from "../../faults/random.js";
import { hasDocker, image, useDockerHost } from "../../harness/docker-host.js";
import { times } from "../../harness/extent.js";
import { processes } from "../../harness/processes.js";
import { eventually, sleep } from "../../harness/wait.js";

const fixture = useDockerHost({ flags: ["--live-restore"] });

const CONTAINERS = times(10, 4);
const names = Array.from({ length: CONTAINERS }, (_, index) => `counts-${index}`);

/** Kills in this order, waits, and starts again in that order. */
type Step = "dockerd" | "containerd";
const plans: { kill: Step[]; start: Step[] }[] = [
  { kill: ["containerd"], start: ["containerd"] },
  { kill: ["dockerd", "containerd"], start: ["containerd", "dockerd"] },
  { kill: ["dockerd"], start: ["dockerd"] },
  { kill: ["containerd", "dockerd"], start: ["dockerd", "containerd"] },
  { kill: ["containerd", "dockerd"], start: ["containerd", "dockerd"] },
  { kill: ["dockerd", "containerd"], start: ["dockerd", "containerd"] },
];

const end = (step: Step) => (step === "dockerd" ? fixture.host.endDockerd() : fixture.host.containerd.kill());
const begin = (step: Step) => (step === "dockerd" ? fixture.host.startDockerd() : fixture.host.containerd.start());

/** Counts until it is told to end. While it is held, it says how far it is. */
const count = (name: string, code: number) => `
i=0
until test -e /control/${name}; do
  if test -e /control/hold; then echo $i >/control/${name}.held; else i=$((i + 1)); echo $i; : >/control/${name}.held; fi
  sleep 0.02
done
exit ${code}`;

/** The containers' own processes. */
const running = () =>
  processes().filter(
    ({ cgroups, state }) => state !== "Z" && cgroups.some((path) => path.includes(fixture.host.cgroup)),
  );

describe.skipIf(!hasDocker)("--live-restore", () => {
  test("containers print numbered lines: none is lost, all run on, each ends with its own code", async () => {
    const control = join(fixture.host.dir, "control");
    const hold = join(control, "hold");
    mkdirSync(control);
    await Promise.all(
      names.map((name, index) => {
        const run = ["run", "--detach", `--name=${name}`, `--volume=${control}:/control`, image];
        return fixture.host.docker(...run, "sh", "-c", count(name, 10 + index));
      }),
    );
    const logs = (await fixture.host.docker("inspect", "--format={{.LogPath}}", ...names)).split("\n");
    /** The last line in dockerd's log of a container. */
    const logged = (index: number): string =>
      JSON.parse(readFileSync(logs[index]!, "utf8").trimEnd().split("\n").at(-1)!).log;
    const quiet = async () => {
      writeFileSync(hold, "");
      for (const [index, name] of names.entries()) {
        const held = join(control, `${name}.held`);
        await eventually(
          () => existsSync(held) && readFileSync(held, "utf8") !== "" && readFileSync(held, "utf8") === logged(index),
        );
      }
    };
    const random = new Random(times(50, 7));
    const rounds = times(50, 3);
    for (let round = 0; round < rounds; round++) {
      const plan = plans[round % plans.length]!;
      await sleep(random.integer(0, 300));
      for (const step of plan.kill) {
        if (step === "dockerd") await quiet();
        await end(step);
        rmSync(hold, { force: true });
      }
      await sleep(random.integer(0, 300));
      // Together: each of them waits for the other one as it has to.
      await Promise.all(plan.start.map(begin));
      await eventually(
        async () => {
          expect((await fixture.host.docker("ps", "--format={{.Names}}")).split("\n").sort()).toEqual(names);
          return true;
        },
        { interval: 200 },
      );
    }
    // They end while nobody looks.
    await quiet();
    await fixture.host.endDockerd();
    rmSync(hold);
    await fixture.host.containerd.kill();
    for (const name of names.slice(0, CONTAINERS / 2)) writeFileSync(join(control, name), "");
    await eventually(() => running().filter(({ command }) => command.startsWith("sh -c")).length === CONTAINERS / 2);
    await Promise.all([begin("containerd"), begin("dockerd")]);
    for (const name of names) writeFileSync(join(control, name), "");
    expect((await fixture.host.docker("wait", ...names)).split("\n")).toEqual(names.map((_, index) => `${10 + index}`));
    for (const name of names) {
      const lines = (await fixture.host.docker("logs", name)).split("\n").map(Number);
      expect(lines.length).toBeGreaterThan(rounds);
      expect(lines).toEqual(lines.map((_, index) => index + 1));
    }
    await fixture.host.removeContainers();
    expect(running()).toEqual([]);
  });
});

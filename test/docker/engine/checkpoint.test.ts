/** `docker checkpoint` of Debian's Docker 20.10: containers that are saved, and go on where they were, with real CRIU. */
import { describe, expect, test } from "vitest";
import { hasDocker, image, useDockerHost } from "../../harness/docker-host.js";
import { eventually } from "../../harness/wait.js";

const fixture = useDockerHost();

/** Counts for ever; where it is shows whether it was saved. */
const COUNTER = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done";
const RUN = ["run", "--detach"];

describe.skipIf(!hasDocker)("docker checkpoint", () => {
  const numbers = async (name: string) => (await fixture.host.docker("logs", name)).split("\n").map(Number);
  const reaches = (name: string, number: number) => eventually(async () => (await numbers(name)).at(-1)! >= number);

  test("create ends the container, start --checkpoint has it go on, and rm removes the checkpoint", async () => {
    const { host } = fixture;
    await host.docker(...RUN, "--name=saved", image, "sh", "-c", COUNTER);
    await reaches("saved", 20);
    await host.docker("checkpoint", "create", "saved", "one");
    await eventually(async () => (await host.inspect("saved", "{{.State.Status}}")) === "exited");
    const before = await numbers("saved");
    expect((await host.docker("checkpoint", "ls", "saved")).split("\n")).toEqual(["CHECKPOINT NAME", "one"]);
    await host.docker("start", "--checkpoint", "one", "saved");
    await reaches("saved", before.at(-1)! + 20);
    const after = await numbers("saved");
    // Not from 1 on: what was printed and not saved comes twice.
    expect(after[before.length]).toBeGreaterThanOrEqual(before.at(-1)! - 2);
    expect(await host.docker("checkpoint", "rm", "saved", "one")).toBe("");
    expect(await host.docker("checkpoint", "ls", "saved")).toBe("CHECKPOINT NAME");
  });

  test("--leave-running, and a directory of one's own", async () => {
    const { host } = fixture;
    await host.docker(...RUN, "--name=runs", image, "sh", "-c", COUNTER);
    await reaches("runs", 20);
    const place = `--checkpoint-dir=${host.dir}/checkpoints`;
    await host.docker("checkpoint", "create", "--leave-running", place, "runs", "two");
    const saved = (await numbers("runs")).at(-1)!;
    await reaches("runs", saved + 20);
    expect(await host.inspect("runs", "{{.State.Status}}")).toBe("running");
    expect(await host.docker("checkpoint", "ls", place, "runs")).toContain("two");
  });

  test("one that is not there, and a container that does not run", async () => {
    const { host } = fixture;
    await host.docker("create", "--name=new", image, "true");
    expect(await host.attempt(["start", "--checkpoint", "none", "new"])).toMatchObject({ code: 1 });
    expect(await host.attempt(["checkpoint", "create", "new", "one"])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("not running"),
    });
    expect(await host.docker("checkpoint", "ls", "new")).toBe("CHECKPOINT NAME");
  });
});

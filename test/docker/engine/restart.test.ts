/** containerd is killed below a dockerd that goes on: what happened meanwhile is told, what was asked is done. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { hasDocker, image, useDockerHost } from "../../harness/docker-host.js";
import { processes } from "../../harness/processes.js";
import { eventually, within } from "../../harness/wait.js";

const fixture = useDockerHost();

describe.skipIf(!hasDocker)("containerd is killed", () => {
  test("containers that end meanwhile are known as ended, and those that have to start again do", async () => {
    const run = ["run", "--detach", `--volume=${fixture.host.dir}:/host`, image, "sh", "-c"];
    const wait = (name: string, code: number) => `until test -e /host/${name}; do sleep 0.02; done; exit ${code}`;
    const [first, ...flags] = run;
    await fixture.host.docker(first!, "--name=ends", ...flags, wait("end", 5));
    await fixture.host.docker(first!, "--name=fails", "--restart=on-failure:1", ...flags, wait("end", 6));
    const inContainers = () =>
      processes().filter(({ cgroups }) => cgroups.some((path) => path.includes(fixture.host.cgroup)));
    await fixture.host.containerd.kill();
    writeFileSync(join(fixture.host.dir, "end"), "");
    await eventually(() => inContainers().every(({ state }) => state === "Z"));
    await fixture.host.containerd.start();
    expect(await fixture.host.docker("wait", "ends", "fails")).toBe("5\n6");
    expect(await fixture.host.inspect("fails", "{{.RestartCount}}")).toBe("1");
  });

  test("a client that is attached, an exec, and a wait go on", async () => {
    using attached = fixture.host.spawn("docker", "run", "--interactive", "--name=lives", image, "cat");
    attached.child.stdin!.write("one\n");
    await attached.printed("one\n");
    using exec = fixture.host.spawn("docker", "exec", "--interactive", "lives", "sh", "-c", "cat; exit 7");
    exec.child.stdin!.write("first\n");
    await exec.printed("first\n");
    // It prints before dockerd is told that it has started. An exec whose start nobody tells has failed for dockerd, whose client waits for
    // ever.
    const [id] = JSON.parse(await fixture.host.get("/containers/lives/json")).ExecIDs;
    await eventually(async () => JSON.parse(await fixture.host.get(`/exec/${id}/json`)).Pid > 0);
    await fixture.host.containerd.restart({ kill: true });
    attached.child.stdin!.write("two\n");
    exec.child.stdin!.write("second\n");
    await attached.printed("one\ntwo\n");
    await exec.printed("first\nsecond\n");
    // The end of the input is told to containerd, and dockerd does not ask twice: it has to be connected again.
    await eventually(async () => (await fixture.host.attempt(["top", "lives"])).code === 0, { interval: 200 });
    exec.child.stdin!.end();
    expect((await within(exec.outcome, "the exec's end")).code).toBe(7);
    attached.child.stdin!.end();
    expect((await within(attached.outcome, "the container's end")).code).toBe(0);
  });
});

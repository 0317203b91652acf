/** `docker exec`. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type DockerHost, hasDocker, image, startDockerHost } from "../../harness/docker-host.js";
import { eventually } from "../../harness/wait.js";

let host: DockerHost;
beforeAll(async () => {
  if (!hasDocker) return;
  host = await startDockerHost();
  await host.docker("run", "--detach", "--name=target", "--env=FROM=container", image, "sleep", "1000");
});
afterAll(async () => {
  await host?.[Symbol.asyncDispose]();
});

describe.skipIf(!hasDocker)("docker exec", () => {
  test.each([
    [0, ["true"]],
    [3, ["sh", "-c", "exit 3"]],
    [137, ["sh", "-c", "kill -9 $$"]],
    [126, ["/nope"]],
    [126, ["no-such-command"]],
    [126, ["/etc"]],
  ])("ends with %i for %j", async (code, args) => {
    expect(await host.attempt(["exec", "target", ...args])).toMatchObject({ code });
  });

  test("input, output, errors", async () => {
    const input = "x".repeat(1_000_000);
    const outcome = await host.attempt(["exec", "--interactive", "target", "sh", "-c", "cat; echo bad >&2"], input);
    expect(outcome.code).toBe(0);
    expect(outcome.stdout === input).toBe(true);
    expect(outcome.stderr).toBe("bad\n");
  });

  test("a terminal with its size", async () => {
    const command = "stty rows 33 cols 99; docker exec -it target sh";
    using client = host.spawn("script", "-qec", command, "/dev/null");
    await eventually(
      async () => {
        client.child.stdin!.write("stty size\r");
        return client.stdout.includes("33 99");
      },
      { interval: 200 },
    );
    client.child.stdin!.write("exit 6\r");
    expect((await client.outcome).code).toBe(6);
  });

  test("user, environment, directory", async () => {
    const flags = ["--user=1000:1001", "--env=GREETING=hello", "--workdir=/tmp"];
    const out = await host.docker("exec", ...flags, "target", "sh", "-c", "id -u; id -g; echo $GREETING $FROM; pwd");
    expect(out.split("\n")).toEqual(["1000", "1001", "hello container", "/tmp"]);
  });

  test("detached: it goes on alone, and its end is known", async () => {
    await host.docker("exec", "--detach", "target", "sh", "-c", "sleep 0.3; touch /tmp/done");
    await eventually(async () => (await host.attempt(["exec", "target", "test", "-e", "/tmp/done"])).code === 0);
    await eventually(async () => (await host.inspect("target", "{{.ExecIDs}}")) === "[]");
  });

  test("the container's end ends it", async () => {
    await host.docker("run", "--detach", "--name=short", image, "sleep", "1000");
    const exec = host.attempt(["exec", "short", "sh", "-c", "echo there; exec sleep 1000"]);
    await eventually(async () => (await host.docker("top", "short", "-o", "pid,args")).split("\n").length === 3);
    await host.docker("kill", "short");
    expect(await exec).toMatchObject({ code: 137, stdout: "there\n" });
    expect(await host.attempt(["exec", "short", "true"])).toMatchObject({ code: 1 });
  });

  test("twenty at once", async () => {
    const all = Array.from({ length: 20 }, (_, index) => host.docker("exec", "target", "echo", `${index}`));
    expect(await Promise.all(all)).toEqual(all.map((_, index) => `${index}`));
  });
});

/** Networks of Docker's containers: made by dockerd in the network namespace that the runtime's hook tells it. */
import { describe, expect, test } from "vitest";
import { hasDocker, image, useDockerHost } from "../../harness/docker-host.js";
import { eventually } from "../../harness/wait.js";

const fixture = useDockerHost();

/** A container that answers each connection at port 80 with its hostname. */
const server = (name: string, ...flags: string[]) =>
  fixture.host.docker(
    "run",
    "--detach",
    `--name=${name}`,
    `--hostname=${name}`,
    ...flags,
    image,
    "nc",
    "-ll",
    "-p",
    "80",
    "-e",
    "hostname",
  );
/** What a shell command says once it succeeds. */
const said = (script: string) => eventually(() => fixture.host.shell(script), { interval: 100 });

describe.skipIf(!hasDocker)("networks", () => {
  test("the bridge: containers reach each other and the host; a published port", async () => {
    await server("one", "--publish=18080:80", "--publish=127.0.0.1::80");
    const address = await fixture.host.inspect("one", "{{.NetworkSettings.IPAddress}}");
    expect(address).toMatch(/^172\.17\.0\.\d+$/);
    expect(await said(`docker run --rm ${image} nc ${address} 80`)).toBe("one");
    expect(await said(`busybox nc ${address} 80`)).toBe("one");
    expect(await said("busybox nc 127.0.0.1 18080")).toBe("one");
    expect(await said("busybox nc 172.17.0.1 18080")).toBe("one");
    const random = (await fixture.host.docker("port", "one", "80"))
      .split("\n")
      .find((line) => line.startsWith("127.0.0.1:"));
    expect(await said(`busybox nc 127.0.0.1 ${random!.split(":")[1]}`)).toBe("one");
    await fixture.host.docker("kill", "one");
    expect((await fixture.host.attempt(["port", "one"])).stdout).toBe("");
  });

  test("a network of its own with names; connect and disconnect while it runs", async () => {
    await fixture.host.docker("network", "create", "--subnet=10.77.0.0/24", "own");
    await server("named", "--network=own", "--network-alias=other", "--ip=10.77.0.50");
    const from = (name: string) => `docker run --rm --network=own ${image} nc ${name} 80`;
    expect(await said(from("named"))).toBe("named");
    expect(await said(from("other"))).toBe("named");
    await server("late");
    expect(await fixture.host.attempt(["run", "--rm", "--network=own", image, "nc", "late", "80"])).toMatchObject({
      code: 1,
    });
    await fixture.host.docker("network", "connect", "own", "late");
    expect(await said(from("late"))).toBe("late");
    await fixture.host.docker("network", "disconnect", "own", "late");
    await fixture.host.docker("rm", "--force", "named", "late");
    await fixture.host.docker("network", "rm", "own");
  });

  test("none, host", async () => {
    const interfaces = "ip -o link | awk '{print $2}'";
    expect(await fixture.host.docker("run", "--rm", "--network=none", image, "sh", "-c", interfaces)).toBe("lo:");
    expect(await fixture.host.docker("run", "--rm", "--network=host", image, "sh", "-c", interfaces)).toContain(
      "docker0:",
    );
  });
});

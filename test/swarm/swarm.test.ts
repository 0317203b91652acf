/** Docker Swarm on two machines that a cable connects: Debian's dockerd on each, and our daemon below it. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type DockerHost, hasDocker, image, startDockerHost } from "../harness/docker-host.js";
import { full, times } from "../harness/extent.js";
import { eventually } from "../harness/wait.js";

let manager: DockerHost;
let worker: DockerHost;

beforeAll(async () => {
  if (!hasDocker) return;
  [manager, worker] = await Promise.all([
    startDockerHost({ hostname: "manager" }),
    startDockerHost({ hostname: "worker" }),
  ]);
  await manager.connect(worker);
  await manager.docker("swarm", "init", "--advertise-addr=10.99.0.1");
  const token = await manager.docker("swarm", "join-token", "--quiet", "worker");
  await worker.docker("swarm", "join", "--advertise-addr=10.99.0.2", `--token=${token}`, "10.99.0.1:2377");
});
afterAll(async () => {
  await Promise.all([manager, worker].map((host) => host?.[Symbol.asyncDispose]()));
});

/** The running tasks of a service: id, node, image, one a line. */
async function tasks(service: string): Promise<{ id: string; node: string; container: string }[]> {
  const filters = ["--filter=desired-state=running", "--no-trunc"];
  const format = "{{.ID}} {{.Node}} {{.CurrentState}}";
  const lines = (await manager.docker("service", "ps", service, ...filters, `--format=${format}`)).split("\n");
  const running = lines.map((line) => line.split(" ")).filter(([, , state]) => state === "Running");
  return running.map(([id, node]) => ({ id: id!, node: node!, container: "" }));
}

/** Waits until a service has so many tasks that run, on so many nodes. */
const has = (service: string, count: number, nodes: string[]) =>
  eventually(
    async () => {
      const running = await tasks(service);
      expect(running).toHaveLength(count);
      expect([...new Set(running.map(({ node }) => node))].sort()).toEqual(nodes);
      return running;
    },
    { interval: 200 },
  );

/** The containers of a machine. */
const containers = async (host: DockerHost) => (await host.docker("ps", "--quiet", "--no-trunc")).split("\n").sort();

describe.skipIf(!hasDocker)("a swarm of two nodes", () => {
  // What a test that has failed has left is in nobody's way when it is tried again.
  beforeEach(async () => {
    await manager.attempt(["node", "update", "--availability=active", "worker"]);
    const services = (await manager.docker("service", "ls", "--quiet")).split("\n").filter(Boolean);
    if (services.length > 0) await manager.docker("service", "rm", ...services);
    await eventually(async () => {
      await manager.attempt(["network", "rm", "between"]);
      return !(await manager.docker("network", "ls", "--format={{.Name}}")).split("\n").includes("between");
    });
  });

  test("replicas on both nodes, scale, a task that is killed is replaced, an update rolls, a node is drained", async () => {
    const count = times(10, 4);
    const create = ["service", "create", "--detach", "--name=work", `--replicas=${count}`, "--restart-delay=0s"];
    const flags = ["--stop-grace-period=1s", "--update-delay=0s", "--update-parallelism=3", "--env=VERSION=1"];
    await manager.docker(...create, ...flags, image, "sh", "-c", "trap 'exit 0' TERM; sleep 100000 & wait");
    const first = await has("work", count, ["manager", "worker"]);
    await manager.docker("service", "scale", "--detach", "work=2");
    await has("work", 2, ["manager", "worker"]);
    await manager.docker("service", "scale", "--detach", `work=${count}`);
    await has("work", count, ["manager", "worker"]);
    // One that is just being stopped can't be killed.
    const victim = await eventually(
      async () => {
        const [id] = await containers(worker);
        await worker.docker("kill", id!);
        return id!;
      },
      { interval: 200 },
    );
    await eventually(async () => !(await containers(worker)).includes(victim), { interval: 200 });
    await has("work", count, ["manager", "worker"]);
    await manager.docker("service", "update", "--detach", "--env-add=VERSION=2", "work");
    await eventually(async () => (await manager.inspect("work", "{{.UpdateStatus.State}}")) === "completed", {
      interval: 200,
    });
    const updated = await has("work", count, ["manager", "worker"]);
    expect(updated.filter(({ id }) => first.some((old) => old.id === id))).toEqual([]);
    for (const host of [manager, worker]) {
      for (const id of await containers(host)) {
        expect(await host.inspect(id, "{{.Config.Env}}")).toContain("VERSION=2");
      }
    }
    await manager.docker("node", "update", "--availability=drain", "worker");
    await has("work", count, ["manager"]);
    await manager.docker("node", "update", "--availability=active", "worker");
    await manager.docker("service", "rm", "work");
    await eventually(async () => (await containers(manager)).join("") === "", { interval: 200 });
  });

  test.skipIf(!full)(
    "an overlay network: tasks on different nodes find each other by name; a port of the host",
    async () => {
      await manager.docker("network", "create", "--driver=overlay", "--attachable", "between");
      const service = ["service", "create", "--detach", "--network=between", "--endpoint-mode=dnsrr", "--mode=global"];
      const answer = ["nc", "-ll", "-p", "80", "-e", "hostname"];
      await manager.docker(
        ...[...service, "--name=web", "--publish=mode=host,target=80,published=8080", "--hostname={{.Node.Hostname}}"],
        ...[image, ...answer],
      );
      await has("web", 2, ["manager", "worker"]);
      for (const host of [manager, worker]) {
        const each = `for i in $(nslookup tasks.web 127.0.0.11 | grep -o "10\\.0\\.[0-9.]*$"); do nc $i 80; done`;
        const run = `docker run --rm --network=between ${image} sh -c '${each}'`;
        await eventually(
          async () => {
            expect((await host.shell(run)).split("\n").sort()).toEqual(["manager", "worker"]);
            return true;
          },
          { interval: 500 },
        );
      }
      expect(await manager.shell("busybox nc 10.99.0.2 8080")).toBe("worker");
      expect(await worker.shell("busybox nc 10.99.0.1 8080")).toBe("manager");
      await manager.docker("service", "rm", "web");
      await eventually(
        async () => (await containers(manager)).join("") === "" && (await containers(worker)).join("") === "",
        { interval: 200 },
      );
      await manager.docker("network", "rm", "between");
    },
  );

  test("containerd is killed on one node, and starts again: no task is lost", async () => {
    const create = ["service", "create", "--detach", "--name=stays", "--replicas=4"];
    await manager.docker(...create, image, "sleep", "100000");
    await has("stays", 4, ["manager", "worker"]);
    const before = await containers(worker);
    await worker.containerd.restart({ kill: true });
    // It is asked something after its restart, so that it would have been noticed by now.
    await eventually(async () => (await worker.attempt(["run", "--rm", image, "true"])).code === 0, { interval: 200 });
    expect(await containers(worker)).toEqual(before);
    await has("stays", 4, ["manager", "worker"]);
    await manager.docker("service", "rm", "stays");
    await eventually(async () => (await containers(worker)).join("") === "", { interval: 200 });
  });
});

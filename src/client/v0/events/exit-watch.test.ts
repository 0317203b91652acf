import { expect, test } from "vitest";
import { FakeDaemon } from "../../../../test/doubles/fake-daemon.js";
import { CreateContainerResponse } from "../../../proto/containerd.js";
import { connect } from "../../connect.js";

const INIT = { pid: "init", systemPid: 7 };

/** A daemon whose containers start, and do what the test says right before the answer. */
function startingDaemon(started: (daemon: FakeDaemon, id: string) => void): FakeDaemon {
  const daemon: FakeDaemon = new FakeDaemon({
    createContainer: (call, callback) => {
      const container = { id: call.request.id, processes: [INIT] };
      daemon.containers = [...daemon.containers.filter(({ id }) => id !== container.id), container as never];
      started(daemon, container.id);
      callback(null, CreateContainerResponse.fromPartial({ container }));
    },
  });
  return daemon;
}

function end(daemon: FakeDaemon, id: string, status: number): void {
  daemon.containers = daemon.containers.filter((container) => container.id !== id);
  daemon.emit({ type: "exit", id, pid: "init", status });
}

test("a container that has ended before its start was answered", async () => {
  await using daemon = await startingDaemon((daemon, id) => {
    daemon.emit({ type: "start-container", id });
    end(daemon, id, 7);
  }).start();
  await using client = connect(daemon.address);
  const container = await client.v0.containers.start({ id: "a", bundle: "/b" });
  expect((await container.wait()).status).toBe(7);
  // Nobody waits any more: nothing is subscribed to.
  await expect.poll(() => daemon.subscribers.size).toBe(0);
});

test("an earlier container's end under the same name is not taken for its own", async () => {
  await using daemon = await startingDaemon((daemon, id) => {
    daemon.emit({ type: "exit", id, pid: "init", status: 1 });
    daemon.emit({ type: "start-container", id });
  }).start();
  await using client = connect(daemon.address);
  const container = await client.v0.containers.start({ id: "a", bundle: "/b" });
  setTimeout(() => end(daemon, "a", 2), 50);
  expect((await container.wait()).status).toBe(2);
});

test("the original can send the end before the start", async () => {
  await using daemon = await startingDaemon((daemon, id) => {
    end(daemon, id, 3);
    daemon.emit({ type: "start-container", id });
  }).start();
  await using client = connect(daemon.address);
  const container = await client.v0.containers.start({ id: "a", bundle: "/b" });
  expect((await container.wait()).status).toBe(3);
});

test("an end while the daemon is away, and one after its return", async () => {
  await using daemon = await startingDaemon((daemon, id) => daemon.emit({ type: "start-container", id })).start();
  await using client = connect(daemon.address);
  const [a, b] = [
    await client.v0.containers.start({ id: "a", bundle: "/b" }),
    await client.v0.containers.start({ id: "b", bundle: "/b" }),
  ];
  await daemon.stop();
  end(daemon, "a", 4);
  await daemon.start();
  expect((await a.wait()).status).toBe(4);
  end(daemon, "b", 5);
  expect((await b.wait()).status).toBe(5);
});

test("an end that the daemon has no record of is an error, not a wait for ever", async () => {
  await using daemon = await startingDaemon((daemon, id) => daemon.emit({ type: "start-container", id })).start();
  await using client = connect(daemon.address);
  const container = await client.v0.containers.start({ id: "a", bundle: "/b" });
  await daemon.stop();
  daemon.containers = [];
  await daemon.start();
  await expect(container.wait()).rejects.toMatchObject({ code: "NOT_FOUND", containerId: "a" });
});

test("a daemon that does not come back ends the wait after `patience`; an abort ends only that wait", async () => {
  await using daemon = await startingDaemon((daemon, id) => daemon.emit({ type: "start-container", id })).start();
  await using client = connect(daemon.address, { patience: 200 });
  const container = await client.v0.containers.start({ id: "a", bundle: "/b" });
  await expect(container.wait({ signal: AbortSignal.timeout(20) })).rejects.toMatchObject({ name: "TimeoutError" });
  await daemon.stop();
  await expect(container.wait()).rejects.toMatchObject({ code: "UNAVAILABLE" });
  container.init.detach();
});

test("containers that were found, and that were started without pipes", async () => {
  await using daemon = await startingDaemon((daemon, id) => {
    daemon.emit({ type: "start-container", id });
    if (id === "quick") end(daemon, id, 6);
  }).start();
  await using client = connect(daemon.address);
  const quick = await client.v0.containers.start({ id: "quick", bundle: "/b", stdio: "ignore" });
  // Its end is long past when somebody asks.
  expect((await quick.wait()).status).toBe(6);
  await client.v0.containers.start({ id: "slow", bundle: "/b", stdio: "ignore" });
  const found = await client.v0.containers.get("slow");
  expect(found.init.systemPid).toBe(7);
  setTimeout(() => end(daemon, "slow", 8), 50);
  expect((await found.wait()).status).toBe(8);
  await expect(client.v0.containers.get("none")).rejects.toMatchObject({ isNotFound: true });
});

import { expect, test } from "vitest";
import { FakeDaemon } from "../../../../test/doubles/fake-daemon.js";
import { connect } from "../../connect.js";

test("none is lost and none comes twice across restarts", async () => {
  await using daemon = await new FakeDaemon().start();
  await using client = connect(daemon.address);
  const seen: string[] = [];
  const events = client.v0.events({ since: 0 });
  await events.subscribed();
  const reading = (async () => {
    for await (const event of events) seen.push(event.id);
  })();
  const sent: string[] = [];
  for (let round = 0; round < 4; round++) {
    for (let number = 0; number < 20; number++) {
      sent.push(`${round}.${number}`);
      daemon.emit({ type: "exit", id: sent.at(-1)! });
      if (number === 10) await daemon.stop();
      if (number === 15) await daemon.start();
    }
    await expect.poll(() => seen.length).toBe(sent.length);
  }
  expect(seen).toEqual(sent);
  await events.return();
  await reading;
  await expect.poll(() => daemon.subscribers.size).toBe(0);
});

test("without since: only what happens from the subscription on, also across a restart before the first event", async () => {
  await using daemon = await new FakeDaemon().start();
  daemon.emit({ type: "exit", id: "old" });
  await new Promise((resolve) => setTimeout(resolve, 5));
  await using client = connect(daemon.address);
  const events = client.v0.events();
  await expect.poll(() => daemon.subscribers.size).toBe(1);
  const next = events.next();
  await daemon.stop();
  daemon.emit({ type: "exit", id: "new" });
  await daemon.start();
  expect((await next).value).toMatchObject({ id: "new" });
  expect(daemon.subscriptions[0]).toMatchObject({ timestamp: undefined });
});

test("storedOnly ends, id filters", async () => {
  await using daemon = await new FakeDaemon().start();
  const first = daemon.emit({ type: "start-container", id: "a" });
  daemon.emit({ type: "start-container", id: "b" });
  daemon.emit({ type: "exit", id: "a", pid: "init", status: 3 });
  await using client = connect(daemon.address);
  const seen = [];
  for await (const event of client.v0.events({ since: first.timestamp!, storedOnly: true, id: "a" })) seen.push(event);
  expect(seen).toMatchObject([{ type: "exit", id: "a", status: 3 }]);
});

test("leaving the loop and aborting end the subscription", async () => {
  await using daemon = await new FakeDaemon().start();
  await using client = connect(daemon.address);
  daemon.emit({ id: "a" });
  for await (const event of client.v0.events({ since: 0 })) {
    expect(event.id).toBe("a");
    break;
  }
  await expect.poll(() => daemon.subscribers.size).toBe(0);
  const controller = new AbortController();
  const next = client.v0.events({ signal: controller.signal }).next();
  await expect.poll(() => daemon.subscribers.size).toBe(1);
  controller.abort(new Error("enough"));
  await expect(next).rejects.toThrow("enough");
  await expect.poll(() => daemon.subscribers.size).toBe(0);
});

test("a daemon that is not there from the start is an error; one that does not come back is one after `patience`", async () => {
  await using daemon = new FakeDaemon();
  await using client = connect(daemon.address, { patience: 200 });
  await expect(client.v0.events().next()).rejects.toThrow("cannot reach containerd");
  await daemon.start();
  const next = client.v0.events().next();
  await expect.poll(() => daemon.subscribers.size).toBe(1);
  await daemon.stop();
  await expect(next).rejects.toThrow(`cannot reach containerd at ${daemon.address}: no such file or directory`);
});

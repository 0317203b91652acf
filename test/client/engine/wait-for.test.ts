/** What a container is waited for, once it was started. */
import { afterEach, expect, test } from "vitest";
import { NotReadyError, type StartNewOptions } from "../../../src/client/index.js";
import { removeAll, useClient } from "../../harness/client.js";
import { startDaemon } from "../../harness/daemon.js";
import { full } from "../../harness/extent.js";
import { makeNetworkNamespace } from "../../harness/network-namespace.js";
import { sharedRootfs } from "../../harness/rootfs.js";
import { endedInTime } from "../../harness/wait.js";
import { startProgram } from "../typescript-program.js";

const here = useClient();

afterEach(async () => {
  await removeAll(here.client);
});

const start = (script: string, more: Partial<StartNewOptions> = {}) =>
  here.client.containers.start({ rootfs: here.place().rootfs, args: ["sh", "-c", script], ...more });

test("a line that it has printed so often, a port that is listened on in it, a command that succeeds", async () => {
  const script = "echo up 1 >&2; nc -l -p 8080 -e cat & sleep 0.1; echo up 2; exec sleep 1000";
  const container = await start(script, {
    waitFor: [{ log: /^up \d$/, times: 2 }, { port: 8080 }, { command: ["true"] }],
  });
  await container.waitFor({ any: [{ log: "never" }, { all: [{ log: "up 1" }, { port: "8080/tcp" }] }] });
});

test("what ends before it is ready, or is not ready in time, is gone, with its last words in the error", async () => {
  const ended = await start("echo starting; echo no database >&2; exit 3", { waitFor: { log: "ready" } }).catch(
    (error) => error,
  );
  expect(ended).toBeInstanceOf(NotReadyError);
  expect(ended.message).toContain("has ended with status 3 before it was ready; it has printed last:");
  expect(ended.lastLines.toSorted()).toEqual(["no database", "starting"]);
  const late = await endedInTime(
    (readyTimeout) => start("echo hello; sleep 1000", { waitFor: { port: 80 }, readyTimeout }).catch((error) => error),
    ({ lastLines = [] }) => lastLines.length > 0,
  );
  expect(late.message).toMatch(
    /^container "\w{12}" was not ready within \d+ ms: nothing listens on port 80\/tcp in it; it has printed last:\n {2}hello$/,
  );
  expect(late).toMatchObject({ kind: "timeout", lastLines: ["hello"] });
  expect(await here.client.containers.list()).toEqual([]);
});

test("what it printed right before its end counts", async () => {
  const container = await start("echo done", { waitFor: { log: "done" } });
  expect((await container.wait()).status).toBe(0);
});

test.skipIf(!full)("nonsense, and what can't come, are errors at once", async () => {
  const container = await start("exec sleep 1000");
  await expect(container.waitFor("health")).rejects.toThrow('has no health check that "health" could wait for');
  await expect(container.waitFor("ports")).rejects.toThrow("it publishes no port over TCP");
  await expect(container.waitFor({ http: "/" })).rejects.toThrow("which port is to be asked over HTTP has to be said");
  await expect(container.waitFor({ http: "/", port: 80 })).rejects.toThrow("it is not published");
  await expect(container.waitFor({ prot: 1 } as never)).rejects.toThrow('what must be "ports", "health", { port }');
  await expect(container.waitFor([])).rejects.toThrow("what must be a list that is not empty, not []");
  await expect(container.waitFor({ http: "health" })).rejects.toThrow("what.http must be a path that begins with /");
  await expect(container.waitFor({ log: "x", times: 0 })).rejects.toThrow("what.times must be a positive whole number");
  await expect(container.waitFor({ port: 0 })).rejects.toThrow("port must be a port, 1 to 65535, not 0");
  const controller = new AbortController();
  const waiting = container.waitFor({ port: 80 }, { signal: controller.signal });
  controller.abort(new Error("not any more"));
  await expect(waiting).rejects.toThrow("not any more");
});

test.skipIf(!full)("answers over HTTP, as seen from the host", async () => {
  await using namespace = await makeNetworkNamespace();
  await using daemon = await startDaemon({ wrapper: namespace.enter() });
  const text = `
    import { connect } from "containerd-ts";
    const client = connect();
    const serve = "mkdir -p /tmp/www; echo warming up >/tmp/www/state; httpd -p 8080 -h /tmp/www; " +
      "sleep 0.3; echo ready >/tmp/www/state; exec sleep 1000";
    await using container = await client.containers.start({
      rootfs: process.argv[2], args: ["sh", "-c", serve], network: "host", tmpfs: ["/tmp"],
      waitFor: { http: "/state", port: 8080, predicate: ({ body }) => body === "ready\\n" },
    });
    await container.waitFor([{ http: "/nothing", port: 8080, status: 404 }, { port: 8080 }]);
    const late = await container.waitFor({ http: "/nothing", port: 8080 }, { timeout: 1000 }).catch((error) => error);
    console.log(late.message);`;
  using program = await startProgram(daemon, { text }, [sharedRootfs()], {}, namespace.enter());
  expect(await program.result).toMatchObject({
    status: 0,
    stderr: "",
    stdout: expect.stringMatching(
      /^container "\w{12}" was not ready within 1000 ms: GET \/nothing is answered with status 404\n$/,
    ),
  });
});

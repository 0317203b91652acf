/**
 * A user: a node that runs services for months. Three of them know each other by name; one is rolled over to a new image while it is asked
 * without a pause; and the machine is started anew.
 */
import { rmSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Client, connect } from "../../../src/client/index.js";
import { expectNoNetworks } from "../../harness/check-networks.js";
import { startDaemon, type TestDaemon } from "../../harness/daemon.js";
import { full } from "../../harness/extent.js";
import { findLeftovers, removeLeftovers } from "../../harness/leftovers.js";
import { makeNetworkNamespace, type NetworkNamespace } from "../../harness/network-namespace.js";
import { hasServer, importServer } from "../../harness/server-images.js";
import { eventually } from "../../harness/wait.js";
import { startProgram } from "../typescript-program.js";

const isRun = full && hasServer("redis-server") && hasServer("nginx");

/** Of a shell that runs its arguments as a command line for which the boot id is what is in the file $0. */
const BOOT = 'mount --bind "$0" /proc/sys/kernel/random/boot_id && exec "$@"';

const bootId = `/tmp/ctd-boot-id-paas-${process.pid}`;
let host: NetworkNamespace;
let outside: NetworkNamespace;
let daemon: TestDaemon;
let client: Client;

beforeAll(async () => {
  if (!isRun) return;
  writeFileSync(bootId, "11111111-1111-4111-8111-111111111111\n");
  [host, outside] = await Promise.all([makeNetworkNamespace(), makeNetworkNamespace()]);
  await host.connect(outside);
  const boot = ["unshare", "--mount", "--propagation", "slave", "sh", "-c", BOOT, bootId];
  daemon = await startDaemon({ wrapper: [...host.enter(), ...boot] });
  client = connect(daemon.listen);
  await importServer(client, "redis-server", "db:1");
  await importServer(client, "nginx", "web:1", "one");
  await importServer(client, "nginx", "web:2", "two");
});

afterAll(async () => {
  client?.close();
  await daemon?.[Symbol.asyncDispose]();
  await host?.[Symbol.asyncDispose]();
  await outside?.[Symbol.asyncDispose]();
  rmSync(bootId, { force: true });
});

/** What is deployed, and how; shared by the programs. */
const SERVICES = `
  import { connect } from "containerd-ts";
  const client = connect();
  const service = { pull: "never", network: "shop", restart: "always", readyTimeout: 120_000 } as const;
  const API = \`mkdir -p /www/cgi-bin; cat >/www/cgi-bin/count; chmod 755 /www/cgi-bin/count; exec busybox httpd -f -p 8080 -h /www\`;
  // A static busybox looks up names by its nslookup only.
  const COUNT = \`#!/bin/sh
db=$(busybox nslookup -type=a db | busybox sed -n '/^Name/,$s/^Address: //p')
printf 'Content-Type: text/plain\\\\r\\\\n\\\\r\\\\n'
printf 'INCR count\\\\r\\\\nQUIT\\\\r\\\\n' | busybox nc -w 20 $db 6379 | busybox head -n 1
\`;
  const WEB = "echo 'location /count { proxy_pass http://api:8080/cgi-bin/count; }' >/etc/nginx/more/api.conf; "
    + "exec nginx -c /etc/nginx/nginx.conf";
  const web = (name: string, image: string, more = {}) => client.containers.start({
    ...service, name, image, args: ["sh", "-c", WEB], waitFor: { http: "/count", port: 80 }, ...more });
`;

const DEPLOY = `${SERVICES}
  await client.networks.create({ name: "shop" });
  await client.containers.start({
    ...service, name: "db", image: "db:1", volumes: { "/data": "db" }, waitFor: { port: 6379 },
    args: ["redis-server", "--appendonly", "yes", "--appendfsync", "always", "--protected-mode", "no", "--dir", "/data"] });
  await client.containers.start({
    ...service, name: "api-1", image: "web:1", network: { name: "shop", aliases: ["api"] },
    args: ["sh", "-c", API.replace("cat >", "printf %s \\"$COUNT\\" >")], env: { COUNT }, waitFor: { port: 8080 } });
  await web("web-1", "web:1", { ports: ["8080:80"] });
  console.log("deployed");
  client.close();
`;

const ROLL = `${SERVICES}
  await web("web-2", "web:2");
  const ports = await client.publish.move("web-1", "web-2");
  console.log("moved", ports.map(({ hostPort, containerPort }) => hostPort + ":" + containerPort).join());
  process.stdin.once("data", async () => {
    await (await client.containers.get("web-1")).remove({ force: true });
    client.close();
  });
  process.stdin.once("end", () => {});
`;

/** Asks without a pause, on connections of their own, until its stdin ends; then how often it was answered what, and what went wrong. */
const ASK = `
  import { get } from "node:http";
  const answers: Record<string, number> = {};
  let isOver = false;
  process.stdin.once("end", () => { isOver = true; }).resume();
  const ask = (path: string) => new Promise<string>((resolve) => {
    const request = get({ host: "10.99.0.1", port: 8080, path, agent: false }, (response) => {
      let body = "";
      response.on("data", (data) => { body += data; }).on("end", () => resolve(response.statusCode + " " + body.trim()));
      response.on("error", (error) => resolve(String(error)));
    });
    request.on("error", (error) => resolve(String(error)));
  });
  await Promise.all([1, 2].map(async () => {
    while (!isOver) {
      const answer = await ask("/");
      answers[answer] = (answers[answer] ?? 0) + 1;
      if (answers[answer] === 1) console.log("first", answer);
    }
  }));
  console.log(JSON.stringify(answers));
`;

const inside = (text: string) => startProgram(daemon, { text }, [], {}, host.enter());

/** What somebody outside is answered. */
async function answerTo(path: string): Promise<string> {
  const script = `fetch("http://10.99.0.1:8080${path}").then(async (answer) => {
    if (answer.status !== 200) throw new Error("status " + answer.status);
    process.stdout.write(await answer.text());
  })`;
  const { stdout, stderr } = await outside.attempt([process.execPath, "--eval", script]);
  if (stdout === "") throw new Error(`no answer: ${stderr}`);
  return stdout.trim();
}

test.skipIf(!isRun)("deployed, rolled over without a missing answer, and back after a reboot", async () => {
  using deploying = await inside(DEPLOY);
  expect(await deploying.result).toMatchObject({ status: 0, stderr: "", stdout: "deployed\n" });
  expect(await answerTo("/")).toBe("one");
  const before = Number((await answerTo("/count")).slice(1));
  expect(before).toBeGreaterThan(0);
  const told: string[] = [];
  const log = await client.containers.get("web-1");
  const following = (async () => {
    for await (const { line } of log.logs({ follow: true })) told.push(line);
  })();
  await eventually(() => told.some((line) => line.includes("start worker process")), { what: "the log of the server" });

  using asking = await startProgram(daemon, { text: ASK }, [], {}, outside.enter());
  await asking.printed("first 200 one");
  using rolling = await inside(ROLL);
  await rolling.printed("moved 8080:80");
  await asking.printed("first 200 two");
  rolling.child.stdin!.end("go on\n");
  expect(await rolling.result).toMatchObject({ status: 0, stderr: "" });
  await following;
  asking.child.stdin!.end();
  const { stdout, stderr } = await asking.result;
  const answers = JSON.parse(stdout.trim().split("\n").at(-1)!);
  expect(Object.keys(answers).toSorted(), stdout + stderr).toEqual(["200 one", "200 two"]);

  // What fails is started again.
  const db = await client.containers.get("db");
  const { pid } = await db.inspect();
  // A kill by the engine would count as somebody's wish that it ends.
  process.kill(pid, "SIGKILL");
  await eventually(async () => {
    const info = await db.inspect();
    return info.status === "running" && info.pid !== pid;
  });
  await eventually(async () => Number((await answerTo("/count")).slice(1)) > before);
  const last = Number((await answerTo("/count")).slice(1));

  // The power goes.
  await daemon.kill();
  const territory = { dir: daemon.dir, stateDir: daemon.stateDir, runDir: daemon.runDir };
  // This daemon's alone: its directory is in the command line.
  await host.attempt(["pkill", "-9", "-f", `containerd-netd ${daemon.runDir}`]);
  await host.shell("nft flush ruleset");
  await removeLeftovers(territory);
  rmSync(daemon.runDir, { recursive: true });
  rmSync(daemon.stateDir, { recursive: true });
  expect(findLeftovers(territory)).toMatchObject({ processes: [], mounts: [], cgroups: [] });
  for (const device of await host.devices())
    if (device.startsWith("ctd-")) await host.shell(`ip link delete ${device}`);
  writeFileSync(bootId, "22222222-2222-4222-8222-222222222222\n");
  await daemon.start();
  await eventually(async () => expect(await answerTo("/")).toBe("two"));
  await eventually(async () => expect(Number((await answerTo("/count")).slice(1))).toBeGreaterThan(last));
  const all = await client.containers.list();
  expect(all.map(({ info }) => [info!.name, info!.status]).toSorted()).toEqual([
    ["api-1", "running"],
    ["db", "running"],
    ["web-2", "running"],
  ]);
  expect((await client.networks.get("shop")).containers).toHaveLength(3);

  for (const container of all) await container.remove({ force: true });
  await client.networks.remove("shop");
  await client.volumes.remove("db");
  await expectNoNetworks(host);
});

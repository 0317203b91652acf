/** netd under a real daemon: whichever of the two is killed, in whichever order, names and ports are there again. */
import { spawn } from "node:child_process";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { expect, test } from "vitest";
import { startDaemon } from "../harness/daemon.js";
import { importImage, NO_STDIO, newId, requestFor, texts } from "../harness/engine.js";
import { full } from "../harness/extent.js";
import { makeNetworkNamespace } from "../harness/network-namespace.js";
import { kill } from "../harness/processes.js";
import { eventually } from "../harness/wait.js";

const PORT = 8080;
const BIND = `const server = require("net").createServer();
  server.on("error", ({ code }) => console.log(code));
  server.listen(${PORT}, () => process.exit(console.log("listens")));`;

test.skipIf(!full)("names are answered and ports are held, whichever of daemon and netd is killed first", async () => {
  await using host = await makeNetworkNamespace();
  await using daemon = await startDaemon({ wrapper: host.enter() });
  await importImage(daemon);
  const networks = [{ network: "bridge", aliases: [], address: "", address6: "", mac: "" }];
  const ports = [{ protocol: "tcp", containerPort: 80, hostAddress: "", hostPort: PORT, hostPortEnd: 0 }];
  const run = async (name: string, config = {}) => {
    const id = newId(daemon);
    const args = texts("httpd", "-f", "-p", "80", "-h", "/etc");
    const create = requestFor({ id, name, config: { args, stopSignal: "KILL", networks, ...config } });
    await daemon.v1().engine.run({ create, stdio: NO_STDIO });
    return { id, name, pid: (await daemon.v1().engine.get({ id })).pid };
  };
  const [web, db] = [await run("web", { ports }), await run("db")];

  /** Its comm, in the host's namespace. */
  const netd = () =>
    readdirSync("/proc")
      .map(Number)
      .find((pid) => {
        try {
          const isNetd = readFileSync(`/proc/${pid}/comm`, "utf8") === "containerd-netd\n";
          return isNetd && readlinkSync(`/proc/${pid}/ns/net`) === readlinkSync(host.path);
        } catch {
          // It has just ended, or is none.
          return false;
        }
      });
  const looked = async (pid: number, name: string) => {
    const child = spawn("nsenter", ["--net", "--mount", `--target=${pid}`, "--", "nslookup", "-type=a", name]);
    let text = "";
    child.stdout.on("data", (data) => {
      text += data;
    });
    await new Promise((resolve) => child.once("close", resolve));
    return text;
  };
  const areRight = () =>
    eventually(async () => {
      expect(await looked(db.pid, "web")).toMatch(/Address: 172\.17\.0\.2\n/);
      expect(await looked(web.pid, "db")).toMatch(/Address: 172\.17\.0\.3\n/);
      expect((await host.attempt([process.execPath, "-e", BIND])).stdout).toBe("EADDRINUSE\n");
      return true;
    });
  await areRight();
  kill(netd()!);
  await areRight();
  await daemon.kill();
  await areRight();
  kill(netd()!);
  await daemon.start();
  await areRight();
  kill(netd()!);
  await daemon.kill();
  await daemon.start();
  await areRight();
  const last = netd();
  await daemon.kill();
  await daemon.start();
  await areRight();
  expect(netd()).toBe(last);

  // What ends while no daemon is there is undone by the next one; with the last container netd ends.
  await daemon.kill();
  kill(db.pid);
  await daemon.start();
  await eventually(async () => !(await looked(web.pid, "db")).includes("172.17.0.3"));
  for (const { id } of [web, db]) await daemon.v1().engine.remove({ id, force: true });
  await eventually(() => netd() === undefined);
});

/**
 * A daemon that has systemd make cgroups, as runtimes are told: a wrapper writes down what it is called with, and has cgroupfs make them.
 */
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Resources } from "../../src/proto/containerdts/engine/v1/engine.js";
import { startContainerd1 } from "../harness/containerd1.js";
import { startDaemon } from "../harness/daemon.js";
import { importImage, NO_STDIO, newId, requestFor, texts } from "../harness/engine.js";
import { full } from "../harness/extent.js";
import { findProgram } from "../harness/paths.js";

const SUBCOMMANDS = ["create", "start", "exec", "update", "kill", "delete", "state"];

test.skipIf(!full)(
  "each call of the runtime about the engine's containers says that systemd makes the cgroups",
  async () => {
    await using place = await startDaemon();
    const [calls, runtime] = [join(place.dir, "calls"), join(place.dir, "runtime")];
    const script = `#!/bin/bash
echo "$*" >> ${calls}
args=()
for arg; do [ "$arg" = --systemd-cgroup ] || args+=("$arg"); done
exec ${findProgram("runc")} "\${args[@]}"
`;
    writeFileSync(runtime, script);
    chmodSync(runtime, 0o755);
    await using daemon = await startContainerd1({ flags: ["--systemd-cgroup", "--runtime", runtime] });
    await importImage(daemon);
    let { engine } = daemon.v1();
    const [plain, sliced] = [newId(daemon), newId(daemon)];
    const config = { args: texts("sleep", "1000"), writable: true };
    await engine.run({ create: requestFor({ id: plain, config }), stdio: NO_STDIO });
    await engine.run({
      create: requestFor({ id: sliced, config: { ...config, cgroupParent: "own.slice" } }),
      stdio: NO_STDIO,
    });
    const cgroupsPath = async (id: string) => {
      const { container } = await daemon.v1().containers.get({ id });
      return JSON.parse(`${container!.spec!.value}`).linux.cgroupsPath;
    };
    expect(await cgroupsPath(plain)).toBe(`system.slice:containerd-ts:${plain}`);
    expect(await cgroupsPath(sliced)).toBe(`own.slice:containerd-ts:${sliced}`);
    const work = async (execId: string) => {
      await engine.exec({ id: plain, execId, args: ["true"], stdio: NO_STDIO });
      expect((await engine.wait({ id: plain, execId })).status).toBe(0);
    };
    await work("before");
    await daemon.kill();
    await daemon.start();
    ({ engine } = daemon.v1());
    await work("after");
    await engine.update({ id: plain, resources: { ...NO_LIMITS, pids: 100n } });
    for (const id of [plain, sliced]) {
      await engine.stop({ id, grace: 0n });
      await engine.start({ id, stdio: NO_STDIO });
      await engine.remove({ id, force: true });
    }
    const seen = new Set<string>();
    for (const line of readFileSync(calls, "utf8").trim().split("\n")) {
      if (!line.includes(plain) && !line.includes(sliced)) continue;
      seen.add(SUBCOMMANDS.find((name) => line.split(" ").includes(name)) ?? line);
      expect(line.split(" ")).toContain("--systemd-cgroup");
    }
    expect([...seen]).toEqual(expect.arrayContaining(["create", "exec", "update", "delete"]));
    // Others' say themselves what they want.
    const slash = requestFor({ id: newId(daemon), config: { ...config, cgroupParent: "/own" } });
    await expect(engine.create(slash)).rejects.toMatchObject({ details: expect.stringContaining("machine.slice") });
  },
);

const NO_LIMITS = Resources.fromPartial({});

/** What is mounted in containers, with each runtime, on the host's ids and on others. */
import { execFileSync } from "node:child_process";
import { chmodSync, lstatSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { Mount } from "../../src/proto/containerdts/engine/v1/engine.js";
import { inCgroupV1 } from "../harness/cgroup-v2.js";
import { useContainerd1 } from "../harness/containerd1.js";
import type { TestDaemon } from "../harness/daemon.js";
import { bindOf, type Config, importImage, newId, requestFor, runToEnd } from "../harness/engine.js";
import { full } from "../harness/extent.js";
import { refusal } from "../harness/v1.js";
import { importVolumesImage, VOLUMES_IMAGE, volumeAt } from "../harness/volumes.js";

const script = (...lines: string[]) => ["sh", "-c", lines.join("; ")];
const RUNTIMES = [{ runtime: "runc" }, { runtime: "crun", wrapper: inCgroupV1() }];

describe.skipIf(!full).each(RUNTIMES)("with $runtime", ({ runtime, ...options }) => {
  const fixture = useContainerd1({ flags: ["--runtime", runtime], ...options });
  let daemon: TestDaemon;

  beforeAll(async () => {
    daemon = fixture.daemon;
    // Whoever is root in a container of its own ids is nobody here, and has to get to its root file system.
    chmodSync(daemon.dir, 0o711);
    await importImage(daemon);
    await importVolumesImage(daemon);
  });

  test("the source of a bind that is missing", async () => {
    const missing = join(daemon.dir, "missing");
    const create = requestFor({ id: newId(daemon), config: { mounts: [bindOf(missing, "/srv")] } });
    expect(await refusal(daemon.v1().engine.create(create))).toContain(
      `${JSON.stringify(missing)}: it does not exist on this host`,
    );
  });

  describe.each(["host", "auto"])("userns %s", (userns) => {
    test("a read-only bind is that with what is mounted below it", async () => {
      const [source, below] = [join(daemon.dir, "bound"), join(daemon.dir, "bound", "below")];
      mkdirSync(below, { recursive: true });
      execFileSync("mount", ["-t", "tmpfs", "-o", "mode=777", "below", below]);
      try {
        const config: Config = { userns, mounts: [bindOf(source, "/srv", { readOnly: true })] };
        const { stderr } = await runToEnd(daemon, script("touch /srv/x", "touch /srv/below/x"), config);
        expect(stderr.match(/Read-only file system/g)).toHaveLength(2);
      } finally {
        execFileSync("umount", [below]);
      }
    });

    test("memory of a size, for a user", async () => {
      const settings = { size: 1n << 20n, mode: 0o700, uid: 1001, gid: 1002 };
      const memory = Mount.fromPartial({ type: "tmpfs", destination: "/srv", ...settings });
      const lines = ["touch /srv/x && echo done", "dd if=/dev/zero of=/srv/y bs=1M count=2 2>/dev/null || echo full"];
      const config: Config = { userns, user: "web", writable: true, mounts: [memory] };
      const { stdout } = await runToEnd(daemon, script("stat -c '%u %g %a' /srv", ...lines), config);
      expect(stdout).toBe("1001 1002 700\ndone\nfull\n");
    });

    test("a volume belongs to whom it belongs to in the image, and what is written to whoever writes", async () => {
      const name = `owners-${userns}`;
      const config: Config = { image: VOLUMES_IMAGE, userns, user: "web", mounts: [volumeAt(name, "/data")] };
      const { stdout, stderr } = await runToEnd(
        daemon,
        script("stat -c '%u %g' /data/file", "echo x > /data/written && stat -c %u /data/written"),
        config,
      );
      expect({ stdout, stderr }).toEqual({ stdout: "1001 1002\n1001\n", stderr: "" });
      const { path } = await daemon.v1().volumes.get({ name, size: false });
      expect(lstatSync(join(path, "written")).uid).toBe(1001);
      const readOnly: Config = { image: VOLUMES_IMAGE, userns, mounts: [volumeAt(name, "/data", { readOnly: true })] };
      expect((await runToEnd(daemon, ["touch", "/data/x"], readOnly)).stderr).toContain("Read-only file system");
      await daemon.v1().volumes.remove({ name });
      expect(readFileSync("/proc/self/mountinfo", "utf8")).not.toContain(join(daemon.root, "engine", "mapped-volumes"));
    });
  });
});

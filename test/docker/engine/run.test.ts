/** `docker run` of Debian's Docker 20.10, as its users know it. */
import { describe, expect, test } from "vitest";
import { hasDocker, image, useDockerHost } from "../../harness/docker-host.js";

const fixture = useDockerHost();

/** Runs a shell script in a container that goes at its end; its stdout. */
const sh = (flags: string[], script: string) => fixture.host.docker("run", "--rm", ...flags, image, "sh", "-c", script);

describe.skipIf(!hasDocker)("docker run", () => {
  test.each([
    [0, ["true"]],
    [3, ["sh", "-c", "exit 3"]],
    [127, ["/nope"]],
    [127, ["no-such-command"]],
    [126, ["/etc"]],
  ])("ends with %i for %j", async (code, args) => {
    const outcome = await fixture.host.attempt(["run", "--rm", image, ...args]);
    expect(outcome).toMatchObject({ code });
    expect(await fixture.host.docker("ps", "--all", "--quiet")).toBe("");
  });

  test("ends with 125 for what dockerd or containerd refuses", async () => {
    expect(await fixture.host.attempt(["run", "--rm", "--memory=1k", image, "true"])).toMatchObject({ code: 125 });
  });

  test("its input, output and errors: all of a megabyte", async () => {
    const input = "0123456789abcdef".repeat(65_536);
    const outcome = await fixture.host.attempt(
      ["run", "--rm", "--interactive", image, "sh", "-c", "cat; echo bad >&2"],
      input,
    );
    expect(outcome.code).toBe(0);
    expect(outcome.stdout === input).toBe(true);
    expect(outcome.stderr).toBe("bad\n");
  });

  test("a terminal", async () => {
    using client = fixture.host.spawn("script", "-qec", `docker run --rm -it ${image} sh`, "/dev/null");
    client.child.stdin!.write("stty size; tty\r");
    await client.printed("/dev/pts/0");
    client.child.stdin!.write("exit 7\r");
    expect((await client.outcome).code).toBe(7);
  });

  test("environment, directory, user, groups, names", async () => {
    const flags = ["--env=GREETING=hello", "--workdir=/tmp", "--user=1000:1001", "--group-add=1002", "--hostname=h"];
    const out = await sh([...flags, "--name=named"], "echo $GREETING; pwd; id -u; id -g; id -G; hostname");
    expect(out.split("\n")).toEqual(["hello", "/tmp", "1000", "1001", "1001 1002", "h"]);
  });

  test("--init: another process is the first, and signals reach the command", async () => {
    expect(await sh(["--init"], "cat /proc/1/comm")).toBe("docker-init");
  });

  test("--read-only, --tmpfs, --shm-size", async () => {
    const out = await sh(
      ["--read-only", "--tmpfs=/scratch:size=64k", "--shm-size=2m"],
      "touch /no 2>&1; touch /scratch/yes && echo yes; df -k /scratch /dev/shm | awk 'NR>1 {print $2}'",
    );
    expect(out.split("\n")).toEqual(["touch: /no: Read-only file system", "yes", "64", "2048"]);
  });

  test("volumes: named, of the host, anonymous, of another container", async () => {
    await sh(
      ["--volume=kept:/kept", `--volume=${fixture.host.dir}:/host:ro`],
      "echo one >/kept/file; test -e /host/data",
    );
    expect(await sh(["--volume=kept:/again"], "cat /again/file")).toBe("one");
    await fixture.host.docker(
      "run",
      "--name=holder",
      "--volume=/anonymous",
      image,
      "sh",
      "-c",
      "echo two >/anonymous/file",
    );
    expect(await sh(["--volumes-from=holder"], "cat /anonymous/file")).toBe("two");
    await fixture.host.docker("rm", "--volumes", "holder");
    await fixture.host.docker("volume", "rm", "kept");
    expect(await fixture.host.docker("volume", "ls", "--quiet")).toBe("");
  });

  test("capabilities, --security-opt", async () => {
    const caps = "grep CapEff /proc/self/status | cut -f2";
    expect(await sh([], caps)).toBe("00000000a80425fb");
    expect(await sh(["--cap-drop=ALL", "--cap-add=NET_ADMIN"], caps)).toBe("0000000000001000");
    expect(await sh(["--security-opt=no-new-privileges"], "grep NoNewPrivs /proc/self/status | cut -f2")).toBe("1");
  });

  test("--ulimit, --sysctl, --oom-score-adj, --device, --ipc", async () => {
    const flags = ["--ulimit=nofile=123:456", "--sysctl=net.ipv4.ip_default_ttl=77", "--oom-score-adj=300"];
    const script =
      "ulimit -Sn; ulimit -Hn; cat /proc/sys/net/ipv4/ip_default_ttl /proc/self/oom_score_adj; test -c /dev/other && echo device";
    expect((await sh([...flags, "--device=/dev/null:/dev/other"], script)).split("\n")).toEqual([
      "123",
      "456",
      "77",
      "300",
      "device",
    ]);
  });

  test("--pid=host, --pid of another, --network of another, --uts=host", async () => {
    await fixture.host.docker("run", "--detach", "--name=first", image, "sleep", "1000");
    const pid = await fixture.host.inspect("first", "{{.State.Pid}}");
    expect(await sh(["--pid=host"], `tr '\\0' ' ' </proc/${pid}/cmdline`)).toBe("sleep 1000");
    expect(await sh(["--pid=container:first"], "tr '\\0' ' ' </proc/1/cmdline")).toBe("sleep 1000");
    const address = await fixture.host.docker("exec", "first", "ip", "-4", "addr", "show", "eth0");
    expect(await sh(["--network=container:first"], "ip -4 addr show eth0")).toBe(address);
    await fixture.host.docker("rm", "--force", "first");
  });
});

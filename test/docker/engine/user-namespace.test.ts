/** Docker's --userns-remap: the root of its containers is another user of the machine. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { hasDocker, image, useDockerHost } from "../../harness/docker-host.js";

const fixture = useDockerHost({ flags: ["--userns-remap=default"] });

describe.skipIf(!hasDocker)("--userns-remap", () => {
  test("containers with and without stdin, in the background, with a terminal, and their execs", async () => {
    const { host } = fixture;
    const identity = ["sh", "-c", "cat /proc/self/uid_map; cat; id -u"];
    // Its stdin is /dev/null.
    const alone = await host.docker("run", "--rm", image, ...identity);
    const [inside, outside] = alone.split("\n")[0]!.trim().split(/ +/);
    expect(inside).toBe("0");
    expect(Number(outside)).toBeGreaterThan(0);
    expect(alone.split("\n").at(-1)).toBe("0");
    const fed = await host.attempt(["run", "--rm", "--interactive", image, "sh", "-c", "cat; exit 3"], "hello");
    expect(fed).toMatchObject({ code: 3, stdout: "hello" });
    await host.docker("run", "--detach", "--name=back", image, "sleep", "1000");
    const pid = await host.inspect("back", "{{.State.Pid}}");
    expect(readFileSync(`/proc/${pid}/uid_map`, "utf8")).toContain(` ${outside} `);
    expect(await host.docker("exec", "back", "sh", "-c", "id -u; cat")).toBe("0");
    expect(await host.attempt(["exec", "--interactive", "back", "cat"], "x")).toMatchObject({ code: 0, stdout: "x" });
    await host.docker("run", "--detach", "--tty", "--name=terminal", image, "sh", "-c", "tty; sleep 1000");
    expect(await host.docker("logs", "terminal")).toContain("/dev/");
  });
});

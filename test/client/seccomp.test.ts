/** Which system calls a container of the library's may make. */
import { expect, test } from "vitest";
import type { v0 } from "../../src/client/index.js";
import { useClient } from "../harness/client.js";

const here = useClient();

const run = async (args: string[], options: Partial<v0.RunOptions> = {}) =>
  await here.client.v0.run({
    ...here.one(),
    args,
    ...options,
  });
/** The mode of the filter of process 1: 2 is a filter, 0 none. */
const mode = async (options: Partial<v0.RunOptions> = {}) =>
  /^Seccomp:\s*(\d)/m.exec((await run(["cat", "/proc/self/status"], options)).stdout)?.[1];

test("the default: on, and ordinary programs work under it", async () => {
  expect(await mode()).toBe("2");
  const everyday = `set -e
    cd /tmp; mkdir a; echo x >a/b; cp a/b a/c; mv a/c a/d; ln a/d a/e; ln -s d a/f; chmod 600 a/d; chown 1:1 a/d; touch -d 2020-01-01 a/b
    ls -laR a; find a -type f | sort | xargs cat; tar cf - a | gzip | gunzip | tar tf -
    dd if=/dev/zero of=z bs=4k count=3 2>/dev/null; sync
    (sleep 0.01 & wait); date; id; uname -a; mkfifo p; (cat p & echo y >p; wait); ulimit -n 100; hostname; kill -0 $$; rm -r a z p`;
  expect(
    await run(["sh", "-c", everyday], {
      capabilities: ["CHOWN", "DAC_OVERRIDE", "FOWNER"],
    }),
  ).toMatchObject({ status: 0, stderr: "" });
});

test("without capabilities: no new namespaces, no mounts; also for root, and with the rights but for the profile's sake", async () => {
  for (const command of ["unshare -m true", "unshare -r true", "mount -t tmpfs none /tmp"]) {
    const { status, stderr } = await run(["sh", "-c", command]);
    expect(status, command).not.toBe(0);
    expect(stderr, command).toMatch(/Operation not permitted|permission denied/i);
  }
  // A user namespace takes no capability at all: it is the profile that refuses it.
  expect(await run(["unshare", "-U", "true"], { user: 1000 })).toMatchObject({ status: 1 });
  expect(await run(["unshare", "-U", "true"], { user: 1000, seccomp: "unconfined" })).toMatchObject({ status: 0 });
});

test("a capability brings the calls that go with it", async () => {
  expect(await run(["unshare", "-m", "true"], { capabilities: ["SYS_ADMIN"] })).toMatchObject({ status: 0 });
  expect(await run(["chroot", "/", "true"], { capabilities: ["SYS_CHROOT"] })).toMatchObject({ status: 0 });
  expect((await run(["chroot", "/", "true"])).status).not.toBe(0);
});

test("unconfined, and a profile of one's own", async () => {
  expect(await mode({ seccomp: "unconfined" })).toBe("0");
  const profile = {
    defaultAction: "SCMP_ACT_ALLOW",
    syscalls: [{ names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO", errnoRet: 28 }],
  };
  const { status, stderr } = await run(["mkdir", "/tmp/x"], { seccomp: profile });
  expect({ status, stderr }).toMatchObject({ status: 1, stderr: expect.stringContaining("No space left on device") });
});

test("what is no profile is refused", async () => {
  for (const seccomp of ["none", true, {}, [], null])
    await expect(run(["true"], { seccomp: seccomp as never })).rejects.toThrow(
      /^seccomp must be "default", "unconfined" or a profile, an object with defaultAction, not /,
    );
});

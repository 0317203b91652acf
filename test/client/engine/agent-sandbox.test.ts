import { chmodSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { RunError, type RunOptions } from "../../../src/client/index.js";
import { importRootfs, useClient } from "../../harness/client.js";
import { full, times } from "../../harness/extent.js";
import { endedInTime, eventually, PATIENCE } from "../../harness/wait.js";

const here = useClient();
const image = "interpreter:1";

beforeAll(async () => {
  // Whoever is root in a container of its own ids is nobody here, and has to get to its root file system.
  chmodSync(here.daemon.dir, 0o711);
  await importRootfs(here.client, image);
});
afterAll(async () => {
  await eventually(async () => (await here.client.containers.list()).length === 0, { what: "the end of all" });
  await here.client.images.prune({ all: true });
});

/** Runs code as an interpreter gets it: on its stdin. */
const evaluate = (code: string, options: Partial<RunOptions> = {}) =>
  here.client.run({
    image,
    pull: "never",
    args: ["sh", "-s"],
    input: code,
    tmpfs: { "/tmp": { size: 1 << 20 } },
    limits: { memory: 64 << 20, cpus: 1, pids: 20 },
    stdioDir: here.daemon.dir,
    ...options,
  });

test("code gets its answer, its own status, and nothing of the machine", async () => {
  const code =
    "read -r first; echo sum $((40 + 2)); echo note >&2; touch /x 2>/dev/null || echo refused; exit 4\nignored";
  const result = await evaluate(code);
  expect(result).toMatchObject({ stdout: "sum 42\nrefused\n", stderr: "note\n", status: 4 });
  const { stdout } = await evaluate("cat /proc/self/uid_map; ls /sys/class/net; ls /proc | grep -c '^[0-9]'");
  expect(stdout).toMatch(/^\s+0\s+[1-9]\d+\s+\d+\n/);
  expect(Number(stdout.trim().split("\n").at(-1))).toBeLessThan(6);
});

test("code that takes too long, too much memory, or too many processes, does no more harm than that", async () => {
  const late = await endedInTime(
    (timeout) => evaluate("echo begun; (sleep 1000 &) ; while :; do :; done", { timeout }).catch((error) => error),
    ({ stdout }) => Boolean(stdout),
  );
  expect(late).toBeInstanceOf(RunError);
  expect(late).toMatchObject({ timedOut: true, stdout: "begun\n" });
  const greedy = await evaluate("tail /dev/zero; echo $?", { limits: { memory: 16 << 20, memorySwap: 16 << 20 } });
  expect(greedy).toMatchObject({ oomKilled: true });
  const bomb = await evaluate("bomb() { bomb | bomb & }; bomb; sleep 0.2; exit 0", {
    limits: { pids: 10 },
    timeout: PATIENCE,
  });
  expect(bomb.status).toBeLessThan(128);
  const filled = await evaluate("head -c 4000000 /dev/zero >/tmp/big 2>/dev/null || echo full");
  expect(filled.stdout).toBe("full\n");
});

test("many at once, and a daemon that is killed in between: each has its own answer", {
  timeout: 300_000,
}, async () => {
  const count = times(200, 50);
  let printed = 0;
  let open: () => void = () => {};
  const half = new Promise<void>((resolve) => {
    open = resolve;
  });
  const one = async (number: number) => {
    const work = "i=0; while [ $i -lt 200 ]; do i=$((i + 1)); done";
    const code = `echo begun ${number}; sleep 0.${number % 10}; ${work}; echo $((i * ${number})); exit ${number % 100}\n`;
    const onStdout = (text: string) => {
      if (text.startsWith("begun") && ++printed === count / 2) open();
    };
    const { stdout, stderr, status } = await evaluate(code, { onStdout });
    return { stdout, stderr, status };
  };
  const numbers = Array.from({ length: count }, (_, number) => number);
  const all = Promise.allSettled(numbers.map(one));
  await half;
  await here.daemon.kill();
  await here.daemon.start();
  const expected = numbers.map((number) => ({
    status: "fulfilled",
    value: { stdout: `begun ${number}\n${200 * number}\n`, stderr: "", status: number % 100 },
  }));
  expect(await all).toEqual(expected);
  expect(await here.client.containers.list()).toEqual([]);
});

test.skipIf(!full)("daemons that are killed time and again", { timeout: 600_000 }, async () => {
  for (let round = 0; round < 5; round++) {
    const all = Promise.all(Array.from({ length: 20 }, (_, number) => evaluate(`echo ${number}; sleep 0.3; echo end`)));
    await eventually(async () => (await here.client.containers.list()).length > 0);
    await here.daemon.kill();
    await here.daemon.start();
    for (const [number, { stdout }] of (await all).entries()) expect(stdout).toBe(`${number}\nend\n`);
  }
});

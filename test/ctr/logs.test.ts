/** ctr logs: what a container of the engine has printed. */
import { afterAll, beforeAll, expect, test } from "vitest";
import type { CreatedContainer } from "../../src/client/index.js";
import { useClient } from "../harness/client.js";
import { ctrError, runCtr } from "./ctr.js";

const here = useClient();
let container: CreatedContainer;

beforeAll(async () => {
  const args = ["sh", "-c", "echo one; echo two; echo oops >&2; printf end"];
  container = await here.client.containers.start({ rootfs: here.place().rootfs, args, name: "printer" });
  await container.wait();
});
afterAll(() => container.remove());

async function printed(...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await runCtr(here.daemon, ["logs", ...args]);
  expect(status, stderr).toBe(0);
  return String(stdout);
}

test("both streams, the last lines, times", async () => {
  const { daemon } = here;
  expect(await runCtr(daemon, ["logs", "printer"])).toMatchObject({ stderr: "oops\n" });
  expect(await printed("printer")).toBe("one\ntwo\nend");
  expect(await printed("--follow", container.id.slice(0, 8))).toBe("one\ntwo\nend");
  expect(await printed("--tail", "0", container.id)).toBe("");
  expect(await printed("--since", "1h", "--timestamps", "printer")).toMatch(/^20\d\d-\S+Z one\n20\d\d-\S+Z two\n/);
  expect(await printed("--until", "1h", "printer")).toBe("");
  expect(await ctrError(daemon, "logs", "nobody")).toContain("nobody");
  expect(await ctrError(daemon, "logs", "--tail", "some", "printer")).toContain("It must be a number of lines");
  expect(await ctrError(daemon, "logs", "--since", "then", "printer")).toContain("then");
});

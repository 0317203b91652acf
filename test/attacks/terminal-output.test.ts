/**
 * What containers, runtimes and other clients choose is shown by ctr and written to logs: none of it may reach a terminal as a command to
 * it.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ctr, ctrError, runCtr, startCtr } from "../ctr/ctr.js";
import { inCgroupV1 } from "../harness/cgroup-v2.js";
import { startDaemon } from "../harness/daemon.js";
import { eventually } from "../harness/wait.js";

/** A C1 control that begins an escape sequence, one that turns the direction of what follows, one without a width. */
const EVIL = "a\u009b31m\u202egpj\u200b\u2028z";
const SHOWN = "a\\u009b31m\\u202egpj\\u200b\\u2028z";
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for.
const RAW = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069]/;

test("ids, names and labels in tables, JSON and events", async () => {
  // runc takes no such ids.
  await using daemon = await startDaemon({ wrapper: inCgroupV1(), flags: ["--runtime", "crun"] });
  const id = daemon.id(EVIL);
  const bundle = daemon.bundle("x", { args: ["sleep", "1000"] });
  const events = startCtr(daemon, "events");
  const labels = ["\x1b]0;title\x07", EVIL];
  await daemon.api.createContainer({ id, bundlePath: bundle, labels });
  await daemon.api.addProcess({ id, pid: EVIL, args: ["sleep", "1000"], cwd: "/", env: ["PATH=/bin"] });
  await events.printed(`start-process`);
  events.child.kill("SIGTERM");
  const printed = {
    list: await ctr(daemon, "containers", "list"),
    json: await ctr(daemon, "containers", "list", "--json"),
    state: await ctr(daemon, "state"),
    events: String((await events.result).stdout),
  };
  for (const [what, text] of Object.entries(printed)) {
    expect(text, what).not.toMatch(RAW);
    expect(text, what).toContain(SHOWN);
  }
  expect(JSON.parse(printed.json)).toMatchObject({ id, labels });
  expect(JSON.parse(printed.state).containers[0]).toMatchObject({ id, labels });
});

test("a runtime's words in an error, and in the daemon's log", async () => {
  for (const format of ["text", "json"]) {
    await using daemon = await startDaemon({ flags: ["--log-format", format] });
    const runtime = join(daemon.dir, "shouting-runtime");
    // As runtimes do it: the message goes into the file of --log.
    writeFileSync(
      runtime,
      `#!/bin/sh\nwhile [ $# -gt 0 ] && [ "$1" != --log ]; do shift; done
[ $# -eq 0 ] || printf '%s\\n' '{"level":"error","msg":"\\u001b[2J\\u009bevil\\u202e\\nsecond line"}' >"$2"\nexit 1\n`,
      { mode: 0o755 },
    );
    const bundle = daemon.bundle("x", { args: ["true"] });
    const start = ["containers", "start", "--runtime", runtime, daemon.id(EVIL), bundle];
    const message = await ctrError(daemon, ...start);
    expect(message).not.toMatch(RAW);
    expect(message).toContain("\\u009bevil\\u202e\\nsecond line");
    const { stderr } = await runCtr(daemon, ["--debug", ...start]);
    expect(stderr).not.toMatch(RAW);
    await eventually(() => daemon.log.includes("start container"));
    expect(daemon.log, format).not.toMatch(RAW);
    expect(daemon.log, format).toContain("\\u202e");
  }
});

test("words of the command line itself", async () => {
  await using daemon = await startDaemon();
  for (const words of [
    ["containers", EVIL],
    [EVIL],
    [`--${EVIL}`],
    ["containers", "state", EVIL],
    ["--address", EVIL, "version"],
  ]) {
    const { status, stderr } = await runCtr(daemon, words);
    expect(status).toBe(1);
    expect(stderr).not.toMatch(RAW);
  }
});

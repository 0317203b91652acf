/** The life of a container's process under a shim: start, exit status, clean-up. */
import { existsSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Sandbox, withHostPids } from "./stand-in-daemon.js";

let sandbox: Sandbox;
beforeEach(() => {
  sandbox = new Sandbox();
});
afterEach(() => sandbox.clean());

describe("exit status", () => {
  const cases = [
    { what: "success", command: "exit 0", status: "0" },
    { what: "an exit code", command: "exit 7", status: "7" },
    { what: "SIGKILL", command: "kill -9 $$", status: "137" },
    { what: "SIGTERM", command: "trap - TERM; sleep 60", status: "143", signal: "SIGTERM" as const },
  ];
  for (const { what, command, status, signal } of cases) {
    test(`${what} gives ${status}`, async () => {
      const id = sandbox.id();
      const shim = sandbox.shim(id, sandbox.bundle(id, ["sh", "-c", command], withHostPids));
      const pid = await shim.start();
      expect(pid).toBe(shim.processPid);
      if (signal) {
        expect(shim.hungUp).toBe(false);
        process.kill(pid, signal);
      }
      expect(await shim.end()).toBe(0);
      expect(shim.exitStatus).toBe(status);
      expect(shim.hungUp).toBe(true);
      expect(shim.errors).toEqual([]);
      expect(sandbox.containers).toEqual([]);
      expect(existsSync(`/proc/${pid}`)).toBe(false);
    });
  }
});

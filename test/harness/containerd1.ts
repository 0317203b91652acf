import { afterAll, afterEach, beforeAll, beforeEach } from "vitest";
import type { DaemonOptions, TestDaemon } from "./daemon.js";
import { startContainerd1 } from "./start-containerd1.js";
import { forgetCreated, removeCreated } from "./task.js";
import type { ApiV1 } from "./v1.js";

export { isDebians, startContainerd1, WRONG_STATE } from "./start-containerd1.js";

export interface Containerd1Fixture {
  readonly daemon: TestDaemon;
  /** In a namespace of its own. */
  readonly api: ApiV1;
}

/** Starts a daemon before the first test of a file (or of the `describe` around the call), ends it after the last. */
export function useContainerd1(options: DaemonOptions = {}, namespace = "test"): Containerd1Fixture {
  let daemon: TestDaemon;
  beforeAll(async () => {
    daemon = await startContainerd1(options);
  });
  beforeEach(forgetCreated);
  afterEach(async ({ task }) => {
    if (task.result?.state === "fail") await removeCreated();
  });
  afterAll(async () => {
    await daemon?.[Symbol.asyncDispose]();
  });
  return {
    get daemon() {
      return daemon;
    },
    get api() {
      return daemon.v1(namespace);
    },
  };
}

import { defineConfig } from "vitest/config";
import { version } from "./build/version.js";
import { PATIENCE } from "./test/harness/wait.js";

export default defineConfig({
  define: { CONTAINERD_TS_VERSION: JSON.stringify(version()), CONTAINERD_TS_COMMIT: '""' },
  test: {
    // Processes, not threads: the tests spawn, open FIFOs and load koffi. Two at a time is what two cores give.
    pool: "forks",
    maxWorkers: 2,
    // The ends of what hangs; a container takes 60 ms to start on a quiet machine, and seconds on a busy one.
    // CI machines are shared and noisy: what fails there once and then passes is shown as retried, not as failed.
    retry: process.env.CI ? 1 : 0,
    testTimeout: 240_000,
    hookTimeout: 240_000,
    expect: { poll: { timeout: PATIENCE } },
    // Each brings what its tests run up to date; only the second needs the programs.
    projects: [
      {
        extends: true,
        // One process for many files: what these start and change is gone with each test.
        test: { name: "unit", include: ["src/**/*.test.ts"], globalSetup: ["test/unit-setup.ts"], isolate: false },
      },
      {
        extends: true,
        test: { name: "daemon", include: ["test/**/*.test.ts"], globalSetup: ["test/daemon-setup.ts"] },
      },
    ],
  },
});

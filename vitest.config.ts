import { defineConfig } from "vitest/config";

export default defineConfig({
  define: { CONTAINERD_TS_VERSION: JSON.stringify("0.2.9") },
  test: {
    include: ["src/**/*.test.ts", "test/**/*.test.ts"],
    globalSetup: ["test/global-setup.ts"],
    // Processes, not threads: the tests spawn, open FIFOs and load koffi. Two at a time is what two cores give.
    pool: "forks",
    maxWorkers: 2,
    // A container takes 60 ms to start on a quiet machine; tests that wait for time-outs say so themselves.
    // CI machines are shared and noisy: what fails there once and then passes is shown as retried, not as failed.
    retry: process.env.CI ? 1 : 0,
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});

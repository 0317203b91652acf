import { defineConfig } from "vitest/config";

export default defineConfig({
  define: { CONTAINERD_TS_VERSION: JSON.stringify("0.2.9") },
  test: {
    include: ["src/**/*.test.ts", "test/**/*.test.ts"],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // The tests share one machine's cgroups and runtime root; two at a time is what two cores give anyway.
    maxWorkers: 2,
  },
});

import { describe, expect, test } from "vitest";
import { FlagsExit, parseFlags } from "./flags.js";

describe("flags", () => {
  test("defaults", () => {
    expect(parseFlags([])).toEqual({
      debug: false,
      logLevel: "info",
      logFormat: "text",
      stateDir: "/run/containerd",
      runDir: "/run/containerd-ts",
      root: "/var/lib/containerd-ts",
      metricsInterval: 300_000,
      listen: ["unix:///run/containerd/containerd.sock"],
      insecureTcp: false,
      runtime: "runc",
      runtimeArgs: [],
      stopWhenUnused: 0,
      systemdCgroup: false,
      pprofAddress: "",
      startTimeout: 30_000,
      retainCount: 500,
      startWorkers: 10,
      hostsDir: ["/etc/containerd/certs.d", "/etc/docker/certs.d"],
      cniConfDir: "/etc/cni/net.d",
      cniPluginDir: ["/opt/cni/bin", "/usr/lib/cni"],
      blobWorkers: 3,
      discardBlobs: false,
      gcInterval: 3_600_000,
      gcHighWater: 90,
      graphiteAddress: "",
      metricsAddress: "",
      containerMetrics: false,
      insecureDebug: false,
    });
  });

  test("as Docker starts it", () => {
    const flags = parseFlags(
      [
        "-l unix:///d.sock --shim docker-containerd-shim --metrics-interval=0 --start-timeout 2m --state-dir /s",
        "--runtime docker-runc --debug --runtime-args --log=x --runtime-args --systemd-cgroup",
      ].flatMap((line) => line.split(" ")),
    );
    expect(flags).toMatchObject({
      listen: ["unix:///d.sock"],
      shim: "docker-containerd-shim",
      metricsInterval: 0,
      startTimeout: 120_000,
      stateDir: "/s",
      runtime: "docker-runc",
      debug: true,
      runtimeArgs: ["--log=x", "--systemd-cgroup"],
    });
  });

  test("what the runtime is told of systemd is one thing, what the engine tells it another", () => {
    expect(parseFlags(["--runtime-args", "--systemd-cgroup"]).systemdCgroup).toBe(false);
    expect(parseFlags(["--systemd-cgroup"])).toMatchObject({ systemdCgroup: true, runtimeArgs: [] });
  });

  test("a duration that no timer can wait for is the longest that one can", () => {
    const flags = parseFlags(["--start-timeout", "10000h", "--metrics-interval", "2562047h"]);
    expect(flags).toMatchObject({ startTimeout: 2_147_483_647, metricsInterval: 2_147_483_647 });
  });

  test("several addresses, instead of the default one", () => {
    expect(parseFlags(["-l", "unix:///a.sock", "--listen=fd://", "-l", "tcp://:1"]).listen).toEqual([
      "unix:///a.sock",
      "fd://",
      "tcp://:1",
    ]);
  });

  test.each([
    [["--nope"], "flag provided but not defined: -nope"],
    [["--start-timeout", "soon"], '"soon"'],
    [["--start-timeout", "-1s"], "can't be negative"],
    [["--retain-count", "many"], "many"],
    [["--start-workers", "0"], "at least 1"],
    [["--log-level", "loud"], "loud"],
    [["config", "default"], 'unknown argument "config": this daemon has flags only'],
    [["--state-dir", ""], "--state-dir"],
    [["--address", "/x"], "flag provided but not defined: -address: type --listen unix:///path"],
    [["-c", "/etc/containerd/config.toml"], "there is no configuration file"],
    [["-l"], "flag needs an argument: -l"],
  ])("%j is refused", (argv, message) => {
    expect(() => parseFlags(argv)).toThrow(message);
  });

  test("--version and --help end the program with 0", () => {
    expect(() => parseFlags(["--version"])).toThrow(new FlagsExit(0).message);
  });
});

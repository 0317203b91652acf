import { normalize } from "node:path";
import type { OciSpec } from "../../src/core/engine/spec/oci-spec.js";
import { parseJson, stringifyJson } from "../../src/core/files/json.js";

/** What the OCI runtime-spec's schema, and its text, have against a specification: nothing, of one that is valid. */
export function problemsOf(given: OciSpec): string[] {
  const problems: string[] = [];
  const check = (holds: boolean, what: string, value?: unknown) => {
    if (!holds) problems.push(`${what}: ${stringifyJson(value) ?? "nothing"}`);
  };
  const unique = (values: readonly unknown[], what: string) => {
    check(new Set(values).size === values.length, `${what} are there once`, values);
  };
  const isText = (value: unknown) => typeof value === "string" && !value.includes("\0");
  const isPath = (value: unknown) => isText(value) && (value as string).startsWith("/");
  const whole = (value: unknown, least: number | bigint, most: number | bigint, what: string) => {
    const isWhole = typeof value === "bigint" || Number.isSafeInteger(value);
    check(isWhole && (value as number) >= least && (value as number) <= most, what, value);
  };
  // What a reader gets: nothing is undefined, or no number.
  const spec = parseJson(stringifyJson(given)) as OciSpec;
  check(stringifyJson(spec) === stringifyJson(given), "nothing is lost as JSON");
  check(/^1\.\d+\.\d+$/.test(spec.ociVersion), "version", spec.ociVersion);
  check(typeof spec.root.readonly === "boolean" && isText(spec.root.path), "root", spec.root);

  const { process, mounts, linux } = spec;
  check(normalize(process.cwd) === process.cwd && isPath(process.cwd), "cwd", process.cwd);
  check(process.args.length > 0 && process.args.every(isText) && process.args[0] !== "", "args", process.args);
  check(
    process.env.every((variable) => isText(variable) && variable.indexOf("=") > 0),
    "env",
    process.env,
  );
  unique(
    process.env.map((variable) => variable.split("=", 1)[0]),
    "variables",
  );
  for (const id of [process.user.uid, process.user.gid, ...(process.user.additionalGids ?? [])])
    whole(id, 0, 2 ** 32 - 2, "id");
  for (const [set, names] of Object.entries(process.capabilities)) {
    unique(names, `capabilities (${set})`);
    check(
      names.every((name) => /^CAP_[A-Z_]+$/.test(name) && process.capabilities.bounding.includes(name)),
      set,
      names,
    );
  }
  unique(
    (process.rlimits ?? []).map(({ type }) => type),
    "rlimits",
  );
  for (const { type, soft, hard } of process.rlimits ?? []) {
    check(/^RLIMIT_[A-Z]+$/.test(type) && soft <= hard, "rlimit", { type, soft, hard });
    for (const limit of [soft, hard]) whole(limit, 0, 2n ** 64n - 1n, "limit");
  }
  if (process.oomScoreAdj !== undefined) whole(process.oomScoreAdj, -1000, 1000, "oomScoreAdj");

  unique(
    mounts.map(({ destination }) => destination),
    "destinations",
  );
  for (const [index, { destination, type, source, options }] of mounts.entries()) {
    check(isPath(destination) && normalize(destination) === destination, "destination", destination);
    check(isText(type) && type !== "" && options.every((option) => isText(option) && option !== ""), "mount", options);
    if (type === "bind") {
      check(isPath(source), "source", source);
      check(options.includes("bind") || options.includes("rbind"), "bind", options);
    }
    unique(options, `options of ${destination}`);
    const hidden = mounts.slice(0, index).find((before) => before.destination.startsWith(`${destination}/`));
    check(hidden === undefined, `${destination} hides`, hidden);
  }

  unique(
    linux.namespaces.map(({ type }) => type),
    "namespaces",
  );
  for (const { type, path } of linux.namespaces) {
    check(["mount", "network", "pid", "ipc", "uts", "cgroup", "user"].includes(type), "namespace", type);
    check(path === undefined || isPath(path), "path of a namespace", path);
  }
  const isInUserNamespace = linux.namespaces.some(({ type }) => type === "user");
  check((linux.uidMappings !== undefined) === isInUserNamespace, "ids of a user namespace", linux.uidMappings);
  for (const { containerID, hostID, size } of [...(linux.uidMappings ?? []), ...(linux.gidMappings ?? [])])
    for (const number of [containerID, hostID, size]) whole(number, 0, 2 ** 32 - 1, "id of a mapping");
  unique(
    (linux.devices ?? []).map(({ path }) => path),
    "devices",
  );
  for (const { path, type, major, minor, fileMode } of linux.devices ?? []) {
    check(isPath(path) && ["b", "c"].includes(type), "device", path);
    for (const number of [major, minor]) whole(number, 0, 2 ** 31, "number of a device");
    whole(fileMode, 0, 0o777, "mode of a device");
  }
  for (const rule of linux.resources.devices ?? []) {
    check(typeof rule.allow === "boolean" && /^r?w?m?$/.test(rule.access), "rule", rule);
    check(["a", "b", "c", undefined].includes(rule.type), "type of a rule", rule.type);
  }
  const { memory = {}, cpu = {}, pids, blockIO = {} } = linux.resources;
  for (const [name, value] of Object.entries({ ...memory, ...cpu, ...pids }))
    if (typeof value !== "boolean" && typeof value !== "string") whole(value, -1, Number.MAX_SAFE_INTEGER, name);
  if (blockIO.weight !== undefined) whole(blockIO.weight, 10, 1000, "weight");
  check(Object.values(linux.sysctl ?? {}).every(isText), "sysctl", linux.sysctl);
  for (const paths of [linux.maskedPaths, linux.readonlyPaths]) check(paths?.every(isPath) ?? true, "paths", paths);
  check(
    linux.rootfsPropagation === undefined || ["shared", "rslave"].includes(linux.rootfsPropagation),
    "propagation",
    linux.rootfsPropagation,
  );
  return problems;
}

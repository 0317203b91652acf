import { isAbsolute, join } from "node:path";
import { Failure } from "../../failure/failure.js";
import { readForeignFile } from "../../files/foreign-files.js";
import { parseJson } from "../../files/json.js";
import { capabilitySets, type OciIdMapping, type OciSpec } from "./spec.js";

/** In bytes: larger than any config.json has reason to be, small enough to be parsed while others wait. */
const LARGEST_CONFIG = 16 * 1024 * 1024;

/**
 * Reads a bundle's config.json.
 * @param signal the caller waits no more
 * @throws Failure as {@link readForeignFile} and {@link parseSpec}
 */
export async function readSpec(bundle: string, signal?: AbortSignal): Promise<OciSpec> {
  const path = join(bundle, "config.json");
  return parseSpec(await readForeignFile(path, LARGEST_CONFIG, signal), path);
}

/**
 * The text of a config.json.
 * @param path what to call it
 * @throws Failure: invalid-argument (with line and column) when it is no JSON object, or none of a container with a process
 */
export function parseSpec(text: string, path: string): OciSpec {
  const spec = parseConfig(text, path);
  if (typeof spec !== "object" || spec === null || Array.isArray(spec)) {
    throw invalidConfig(path, "not a JSON object");
  }
  const { process } = spec as OciSpec;
  if (typeof process !== "object" || process === null) {
    throw invalidConfig(path, 'no "process" object');
  }
  return spec as OciSpec;
}

/** Parses with an error that says where: file, line, column. */
function parseConfig(text: string, path: string): unknown {
  try {
    return parseJson(text);
  } catch (error) {
    const [, reason, offset] = /^(.*) at position (\d+)$/s.exec((error as SyntaxError).message) ?? [];
    const before = text.slice(0, Number(offset)).split("\n");
    throw invalidConfig(path, `${reason}`, `:${before.length}:${before.at(-1)!.length + 1}`);
  }
}

function invalidConfig(path: string, why: string, where = ""): Failure {
  return new Failure("invalid-argument", "invalid-config", { path, where, why });
}

/** The host's uid and gid of the container's root: what its stdio pipes must belong to. */
export function rootIds(spec: OciSpec): { uid: number; gid: number } {
  return { uid: hostId(spec.linux?.uidMappings), gid: hostId(spec.linux?.gidMappings) };
}

function hostId(mappings: OciIdMapping[] | null | undefined): number {
  return mappings?.find((mapping) => mapping.containerID === 0)?.hostID ?? 0;
}

/**
 * A config.json from before runtime-spec 1.0 in today's form, or undefined when it needs no translation. Runtimes refuse
 * `process.capabilities` as a list, and pass silently over a seccomp rule with `name` in place of `names`.
 * Relative paths get absolute, since the translation lies elsewhere than the bundle.
 */
export function translateOldSpec(spec: OciSpec, bundle: string): OciSpec | undefined {
  const capabilities = spec.process?.capabilities;
  const syscalls = spec.linux?.seccomp?.syscalls;
  const oldSyscalls = syscalls?.some((rule) => rule.name !== undefined) ?? false;
  if (!Array.isArray(capabilities) && !oldSyscalls) return undefined;
  const absolute = (path: string) => (isAbsolute(path) ? path : join(bundle, path));
  const translated = structuredClone(spec);
  if (Array.isArray(capabilities)) translated.process!.capabilities = capabilitySets(capabilities);
  for (const rule of translated.linux?.seccomp?.syscalls ?? []) {
    if (rule.name === undefined) continue;
    rule.names = [...(rule.names ?? []), rule.name];
    delete rule.name;
  }
  if (translated.root?.path !== undefined) translated.root.path = absolute(translated.root.path);
  for (const mount of translated.mounts ?? []) {
    const bound = mount.type === "bind" || mount.options?.some((option) => option === "bind" || option === "rbind");
    if (bound && mount.source) mount.source = absolute(mount.source);
  }
  return translated;
}

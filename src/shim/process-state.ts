/** process.json: what the daemon wants this shim to run. */

import type * as cjson from "cjson";
import { PROCESS_JSON } from "../contract/shim/process-directory";
import type { OutputJson, ProcessJson, StdioJson } from "../contract/shim/process-json";
import * as files from "./syscalls/files";
import { errorText } from "./syscalls/libc";

/** The part of a checkpoint's config.json that a restore depends on. */
export interface Checkpoint {
  readonly path: string;
  readonly tcp: boolean;
  readonly unixSockets: boolean;
  readonly shell: boolean;
  readonly emptyNamespaces: readonly string[];
}

/** What the shim needs to know of process.json; the runtime reads the rest. */
export interface ProcessState {
  readonly exec: boolean;
  readonly terminal: boolean;
  /** A path; empty for /dev/null. */
  readonly stdin: string;
  /** One object when both are one program's. */
  readonly stdout: OutputJson;
  readonly stderr: OutputJson;
  readonly runtimeArgs: readonly string[];
  readonly noPivotRoot: boolean;
  readonly noNewKeyring: boolean;
  /** To be removed at the end of the container in place of a call of the runtime; empty: that has to be made. */
  readonly runtimeDirectory: string;
  readonly checkpoint: Checkpoint | undefined;
  /** The container's root on the host: its pipes belong to it. */
  readonly rootUID: number;
  readonly rootGID: number;
  /** An exec's; undefined: that which we have ourselves. */
  readonly umask: number | undefined;
}

/** An object of which these fields are looked at, whatever they hold. */
type JsonObject<Field extends string> = LuaTable<Field, unknown>;

/** Loads lua-cjson, and never a file of that name that happens to lie in the working directory. */
export function loadJson(): typeof cjson {
  const paths = _G.package;
  paths.path = "";
  [paths.cpath] = string.gsub(paths.cpath, "%./%?%.so;?", "");
  const [loaded, library] = pcall(_G.require, "cjson");
  return loaded ? (library as typeof cjson) : error("lua-cjson not installed on system", 0);
}

function readObject<Field extends string>(path: string): JsonObject<Field> {
  const { decode } = loadJson();
  const text = files.readFile(path);
  if (typeof text === "number") return error(`open ${path}: ${errorText(text)}`, 0);
  const [ok, value] = pcall(decode, text);
  if (!ok) return error(`${path}: ${value}`, 0);
  if (typeof value !== "object") return error(`${path}: not a JSON object`, 0);
  return value as JsonObject<Field>;
}

function stringOf<Field extends string>(object: JsonObject<Field>, key: Field): string {
  const value = object.get(key);
  return typeof value === "string" ? value : "";
}

function numberOf<Field extends string>(object: JsonObject<Field>, key: Field): number {
  const value = object.get(key);
  return typeof value === "number" ? value : 0;
}

function flagOf<Field extends string>(object: JsonObject<Field>, key: Field): boolean {
  return object.get(key) === true;
}

function listOf<Field extends string>(object: JsonObject<Field>, key: Field): string[] {
  const list: string[] = [];
  const value = object.get(key);
  if (typeof value !== "object") return list;
  for (const item of value as unknown[]) list.push(`${item}`);
  return list;
}

function readCheckpoint(path: string): Checkpoint {
  const config = readObject<"tcp" | "unixSockets" | "shell" | "emptyNS">(`${path}/config.json`);
  return {
    path,
    tcp: flagOf(config, "tcp"),
    unixSockets: flagOf(config, "unixSockets"),
    shell: flagOf(config, "shell"),
    emptyNamespaces: listOf(config, "emptyNS"),
  };
}

function umaskOf(user: unknown): number | undefined {
  const umask = typeof user === "object" ? (user as JsonObject<"umask">).get("umask") : undefined;
  return typeof umask === "number" ? umask : undefined;
}

/** Reads process.json in the working directory. Throws a message that names the file. */
export function readProcessState(): ProcessState {
  const json = readObject<keyof ProcessJson | "terminal" | "user">(PROCESS_JSON);
  const checkpoint = stringOf(json, "checkpoint");
  const stdout = stringOf(json, "containerdStdout");
  const stderr = stringOf(json, "containerdStderr");
  const stdio = json.get("stdio") as StdioJson | undefined;
  return {
    exec: flagOf(json, "exec"),
    terminal: flagOf(json, "terminal"),
    stdin: stdio?.stdin ?? stringOf(json, "containerdStdin"),
    stdout: stdio?.stdout ?? { path: stdout },
    stderr: (stdout === stderr ? stdio?.stdout : stdio?.stderr) ?? { path: stderr },
    runtimeArgs: listOf(json, "runtimeArgs"),
    noPivotRoot: flagOf(json, "noPivotRoot"),
    noNewKeyring: flagOf(json, "noNewKeyring"),
    runtimeDirectory: stringOf(json, "runtimeDirectory"),
    checkpoint: checkpoint === "" ? undefined : readCheckpoint(checkpoint),
    rootUID: numberOf(json, "rootUID"),
    rootGID: numberOf(json, "rootGID"),
    umask: flagOf(json, "exec") ? umaskOf(json.get("user")) : undefined,
  };
}

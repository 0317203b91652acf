import { refusal } from "../../failure/failure.js";

/** What an image says of the containers that are made of it. What it does not say is empty, or undefined. */
export interface ImageConfig {
  entrypoint: string[] | undefined;
  cmd: string[] | undefined;
  /** `NAME=value` */
  env: string[];
  user: string;
  workdir: string;
  stopSignal: string;
  labels: Record<string, string>;
  /** Absolute paths, where the image's author wants volumes. */
  volumes: string[];
  /** `80/tcp` */
  exposedPorts: string[];
  /** What runs commands of one text; undefined: the usual one. */
  shell: string[] | undefined;
  /** As the image has it. */
  healthcheck: object | undefined;
}

/** In bytes. */
const LARGEST = 4 << 20;

/**
 * Reads an image's config as Docker and OCI write it. What has not the form that it should have counts as not there: images are made by
 * many programs, and what is odd in a part of one that nobody uses should not keep it from running.
 * @param digest what to call it
 * @throws Failure (invalid-argument) for what is no JSON object, or too large
 */
export function parseImageConfig(digest: string, bytes: Uint8Array): ImageConfig {
  if (bytes.length > LARGEST)
    throw refusal(`image config ${digest} is of ${bytes.length} bytes: at most ${LARGEST} are read`);
  const text = new TextDecoder().decode(bytes);
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (error) {
    throw refusal(`image config ${digest} is no JSON: ${(error as Error).message}`);
  }
  if (!isObject(document)) throw refusal(`image config ${digest} is no JSON object`);
  const config = isObject(document.config) ? document.config : {};
  const healthcheck = config.Healthcheck;
  return {
    entrypoint: commandOf(config.Entrypoint),
    cmd: commandOf(config.Cmd),
    env: (textsOf(config.Env) ?? []).filter((variable) => variable.indexOf("=") > 0),
    user: textOf(config.User),
    workdir: textOf(config.WorkingDir),
    stopSignal: textOf(config.StopSignal),
    labels: labelsOf(config.Labels),
    volumes: keysOf(config.Volumes).filter((path) => path.startsWith("/")),
    exposedPorts: keysOf(config.ExposedPorts),
    shell: commandOf(config.Shell),
    healthcheck: isObject(healthcheck) ? healthcheck : undefined,
  };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The kernel takes nothing with a NUL in it. */
function isText(value: unknown): value is string {
  return typeof value === "string" && !value.includes("\0");
}

function textOf(value: unknown): string {
  return isText(value) ? value : "";
}

function textsOf(value: unknown): string[] | undefined {
  return Array.isArray(value) ? value.filter(isText) : undefined;
}

/** Old programs write a text for a list of one. An argument left out would make it another command: then it is none. */
function commandOf(value: unknown): string[] | undefined {
  if (isText(value)) return value === "" ? undefined : [value];
  return Array.isArray(value) && value.every(isText) ? value : undefined;
}

function keysOf(value: unknown): string[] {
  return isObject(value) ? Object.keys(value).filter(isText) : [];
}

function labelsOf(value: unknown): Record<string, string> {
  if (!isObject(value)) return {};
  // Defines what a name like `__proto__` has, and assigns nothing.
  return Object.fromEntries(Object.entries(value).filter((entry): entry is [string, string] => isText(entry[1])));
}

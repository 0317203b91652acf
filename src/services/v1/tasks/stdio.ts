import type { OutputJson, StdioJson } from "../../../contract/shim/process-json.js";
import { Failure, type FailureKind, isFailure } from "../../../core/failure/failure.js";
import { makeLogFile } from "../../../core/files/log-file.js";
import type { Stdio } from "../../../core/tasks/process.js";
import type { NamespacedCall } from "../front.js";

type Name = "stdin" | "stdout" | "stderr";

interface Uri {
  scheme: string;
  path: string;
  query: string;
}

const URI = /^([a-z][a-z0-9+.-]*):(?:\/\/([^/?#]*))?([^?#]*)(?:\?([^#]*))?/i;

/**
 * The stdio that a request asks for: paths, or URIs. A file that a `file://` names is there afterwards.
 * @throws Failure: invalid-argument for what leads nowhere, and as {@link makeLogFile}
 */
export async function stdioOf(call: NamespacedCall<Stdio & { containerId: string }>): Promise<Stdio> {
  const { stdin, stdout, stderr } = call.request;
  const names = { stdin, stdout, stderr };
  const uris = { stdin: parse("stdin", stdin), stdout: parse("stdout", stdout), stderr: parse("stderr", stderr) };
  const isPath = Object.values(uris).every(({ scheme }) => scheme === "");
  if (isPath) return names;
  const leadsTo: StdioJson = {
    stdin: uris.stdin.path,
    stdout: outputOf(call, uris.stdout),
    stderr: outputOf(call, uris.stderr),
  };
  for (const { scheme, path } of [uris.stdout, uris.stderr]) {
    if (scheme === "file") await makeLogFile(path, call.signal);
  }
  return { ...names, leadsTo };
}

function outputOf(call: NamespacedCall<{ containerId: string }>, { scheme, path, query }: Uri): OutputJson {
  if (scheme !== "binary") return { path };
  // Of a key that is there twice the first value counts, as in containerd.
  const parameters = new Map<string, string>();
  for (const [key, value] of new URLSearchParams(query)) if (!parameters.has(key)) parameters.set(key, value);
  const args = [...parameters].flat();
  const environment = [`CONTAINER_ID=${call.request.containerId}`, `CONTAINER_NAMESPACE=${call.namespace}`];
  return { path, program: { args, environment } };
}

function parse(name: Name, value: string): Uri {
  const refuse = (why: string) => new Failure("invalid-argument", "invalid-value", { name, value, why });
  const [, scheme = "", host = "", path = "", query = ""] = value.startsWith("/") ? [] : (URI.exec(value) ?? []);
  const uri = { scheme: scheme.toLowerCase(), path: scheme === "" ? value : decode(path), query };
  if (uri.path === undefined) throw refuse("not encoded as a URI is");
  const known = name === "stdin" ? ["", "fifo", "file"] : ["", "fifo", "file", "binary"];
  if (!known.includes(uri.scheme)) throw refuse(`unknown STDIO scheme ${scheme}`);
  if (host !== "") throw refuse("its path begins with a third slash");
  if (value !== "" && !uri.path.startsWith("/")) throw refuse("not an absolute path");
  if (`${uri.path}${decode(query) ?? ""}`.includes("\0")) throw refuse("it has a NUL in it");
  return { ...uri, path: uri.path };
}

/** Undefined when it is not encoded as a URI is. */
function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

/** What an error of the shim's about a path means. */
const KINDS: readonly [words: string, kind: FailureKind][] = [
  ["no such file or directory", "not-found"],
  ["is a directory", "invalid-argument"],
  ["not a directory", "invalid-argument"],
  ["permission denied", "invalid-argument"],
  ["exec format error", "invalid-argument"],
  ["before it was ready", "failed-precondition"],
  ["deadline exceeded", "deadline-exceeded"],
];

/** Runs a start. When it fails because of the stdio that the client has named, it is that which the error is about. */
export async function explainingStdio<T>(stdio: Stdio, start: () => Promise<T>): Promise<T> {
  try {
    return await start();
  } catch (error) {
    if (!isFailure(error, "shim-error")) throw error;
    const { text } = error.facts;
    const isAboutIt = pathsOf(stdio).some(
      (path) => text.startsWith(`open ${path}: `) || text.startsWith(`fork/exec ${path}: `),
    );
    const kind = isAboutIt ? KINDS.find(([words]) => text.endsWith(words))?.[1] : undefined;
    throw kind === undefined ? error : new Failure(kind, "refused", { why: text }, { cause: error });
  }
}

function pathsOf({ stdin, stdout, stderr, leadsTo }: Stdio): string[] {
  return [leadsTo?.stdin ?? stdin, leadsTo?.stdout.path ?? stdout, leadsTo?.stderr.path ?? stderr].filter(Boolean);
}

import { Change_Kind } from "../../proto/containerdts/engine/v1/engine.js";
import { type CallOptions, callChecks } from "../api/call-options.js";
import type { EngineApi } from "../api/engine.js";
import { fullName } from "../images/images.js";
import { anyText, type Checks, checkOptions, flag, listOf } from "../options/option-checks.js";

/** What a container has changed in its own layer. */
export interface FileChange {
  /** Absolute, as the container sees it. */
  path: string;
  kind: "added" | "modified" | "deleted";
}

export interface CommitOptions extends CallOptions {
  /** Whether one that runs is paused until its layer is read. Without it what it writes then may be in the image. Default: true. */
  pause?: boolean | undefined;
  author?: string | undefined;
  message?: string | undefined;
  /** As a Dockerfile has them: `CMD ["sh"]`, `ENV A=b`. */
  changes?: readonly string[] | undefined;
}

const commitChecks: Checks<CommitOptions> = {
  ...callChecks,
  pause: flag,
  author: anyText,
  message: anyText,
  changes: listOf(anyText),
};

const KINDS = new Map<Change_Kind, FileChange["kind"]>([
  [Change_Kind.ADDED, "added"],
  [Change_Kind.MODIFIED, "modified"],
  [Change_Kind.DELETED, "deleted"],
]);

/** `container.diff` */
export async function diffOf(api: EngineApi, id: string, options: CallOptions): Promise<FileChange[]> {
  checkOptions(options, callChecks);
  const all: FileChange[] = [];
  for await (const { changes } of await api.calls.diff({ id }, options))
    for (const { path, kind } of changes) all.push({ path, kind: KINDS.get(kind) ?? "modified" });
  return all;
}

/** `container.commit` */
export async function commitOf(
  api: EngineApi,
  id: string,
  image: string | undefined,
  options: CommitOptions,
): Promise<string> {
  checkOptions(options, commitChecks);
  const ref = image === undefined ? "" : fullName(image);
  const { pause = true, author = "", message = "", changes = [], ...call } = options;
  const request = { id, ref, noPause: !pause, author, message, changes: [...changes] };
  return (await api.calls.commit(request, call)).digest;
}

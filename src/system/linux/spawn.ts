import { accessSync, constants, type Stats, statSync } from "node:fs";
import { delimiter, join } from "node:path";
import { libc, syscall, systemError } from "./libc.js";

const posixSpawn = libc.func(
  "int posix_spawn(_Out_ int *pid, const char *path, uint8_t *actions, uint8_t *attributes, const char **argv, const char **envp)",
);
const actionsInit = libc.func("int posix_spawn_file_actions_init(uint8_t *actions)");
const actionsDestroy = libc.func("int posix_spawn_file_actions_destroy(uint8_t *actions)");
const actionsDup2 = libc.func("int posix_spawn_file_actions_adddup2(uint8_t *actions, int fd, int newfd)");
const actionsChdir = libc.func("int posix_spawn_file_actions_addchdir_np(uint8_t *actions, const char *path)");
const attributesInit = libc.func("int posix_spawnattr_init(uint8_t *attributes)");
const attributesFlags = libc.func("int posix_spawnattr_setflags(uint8_t *attributes, short flags)");
const attributesMask = libc.func("int posix_spawnattr_setsigmask(uint8_t *attributes, uint8_t *mask)");
const attributesDefault = libc.func("int posix_spawnattr_setsigdefault(uint8_t *attributes, uint8_t *signals)");
const sigfillset = libc.func("int sigfillset(uint8_t *set)");

const POSIX_SPAWN_SETSIGDEF = 0x04;
const POSIX_SPAWN_SETSIGMASK = 0x08;
const POSIX_SPAWN_SETSID = 0x80;
/** Larger than the opaque structures of glibc (336 bytes) and musl. */
const OPAQUE_SIZE = 512;

/**
 * Children start with no signal blocked and none ignored, whatever Node has set for itself (it ignores SIGPIPE), in a session of their own.
 */
const attributes = Buffer.alloc(OPAQUE_SIZE);
attributesInit(attributes);
attributesMask(attributes, Buffer.alloc(128));
const allSignals = Buffer.alloc(128);
sigfillset(allSignals);
attributesDefault(attributes, allSignals);
attributesFlags(attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSID);

// What this process itself inherited without close-on-exec (from a shell, from systemd) is not for its children either.
const SYS_close_range = 436;
const CLOSE_RANGE_CLOEXEC = 4;
syscall(SYS_close_range, 3, 0xffffffff, CLOSE_RANGE_CLOEXEC, 0);

export interface SpawnOptions {
  /** Working directory; the parent's by default. */
  cwd?: string;
  /** "NAME=value" strings. */
  env: readonly string[];
  /** The child's descriptors: fds[0] becomes its 0, and so on. It gets no others: all of Node's are close-on-exec. */
  fds: readonly number[];
}

/**
 * Starts a program in a session of its own and returns its pid; the caller reaps it.
 *
 * Not Node's child_process: that forks the whole of Node (5 ms of the event loop measured with a heap of 100 MB, against 0.4 ms
 * here, since posix_spawn shares the memory until the exec). And not on the main thread: the caller stands still until the child has got
 * the CPU and reached its exec (5 ms measured on a busy machine).
 * @throws a system error; ENOENT when there is no such file
 */
export async function spawn(path: string, argv: readonly string[], options: SpawnOptions): Promise<number> {
  const actions = Buffer.alloc(OPAQUE_SIZE);
  actionsInit(actions);
  try {
    options.fds.forEach((fd, target) => {
      // dup2 in order would overwrite a source that is one of the targets.
      if (fd < options.fds.length && fd !== target) throw new Error(`spawn: descriptor ${fd} is among the targets`);
      actionsDup2(actions, fd, target);
    });
    if (options.cwd !== undefined) actionsChdir(actions, options.cwd);
    const pid = [0];
    const environment = [...options.env, null];
    const errno = await new Promise<number>((resolve, reject) => {
      posixSpawn.async(
        pid,
        path,
        actions,
        attributes,
        [...argv, null],
        environment,
        (error: unknown, result: number) => (error ? reject(error) : resolve(result)),
      );
    });
    if (errno !== 0) throw systemError("posix_spawn", path, errno);
    return pid[0]!;
  } finally {
    actionsDestroy(actions);
  }
}

/** In ms: how long a lookup on the PATH is reused. A lookup takes a twentieth of a millisecond, and a start makes several. */
const FOUND_FOR = 1_000;
const found = new Map<string, { file: string; at: number }>();
/** Clients may name any program, in many ways. */
const MAX_FOUND = 64;

/**
 * The file that a shell would run for this name: the name itself if it has a slash, else the first match on the PATH; undefined if there is
 * none. What was found less than a second ago, and is still there, is not looked for again.
 */
export function findProgram(name: string, path?: string): string | undefined {
  return findProgramFile(name, path)?.path;
}

/** A program's file, and what it was when it was found. */
export interface ProgramFile {
  path: string;
  stats: Stats;
}

/** As {@link findProgram}. */
export function findProgramFile(name: string, path: string = process.env.PATH ?? ""): ProgramFile | undefined {
  const key = `${name}\0${path}`;
  const now = performance.now();
  const known = found.get(key);
  const file = known !== undefined && now - known.at < FOUND_FOR ? programAt(known.file) : undefined;
  if (file !== undefined) return file;
  if (found.size >= MAX_FOUND) found.clear();
  found.delete(key);
  for (const candidate of name.includes("/")
    ? [name]
    : path.split(delimiter).map((directory) => join(directory || ".", name))) {
    const program = programAt(candidate);
    if (program === undefined) continue;
    found.set(key, { file: candidate, at: now });
    return program;
  }
  return undefined;
}

function programAt(path: string): ProgramFile | undefined {
  try {
    accessSync(path, constants.X_OK);
    const stats = statSync(path);
    return stats.isFile() ? { path, stats } : undefined;
  } catch {
    return undefined;
  }
}

/** `env` as posix_spawn wants it. */
export function environmentStrings(env: Readonly<Record<string, string | undefined>>): string[] {
  return Object.entries(env).flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${value}`]));
}

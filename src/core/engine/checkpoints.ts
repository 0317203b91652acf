import { existsSync } from "node:fs";
import { readdir, readFile, rm } from "node:fs/promises";
import { basename, dirname, isAbsolute, join } from "node:path";
import { errorText } from "../../system/linux/libc.js";
import { Failure, refusal } from "../failure/failure.js";
import { checkIdentifier } from "../metadata/identifier.js";
import type { Engine } from "./engine.js";
import type { EngineContainer } from "./engine-container.js";

/** Where a checkpoint is: a directory in another one. */
export interface CheckpointPlace {
  directory: string;
  name: string;
}

/** Of a checkpoint that is not whole yet. */
export const PARTIAL = ".partial";

/** @throws Failure (invalid-argument) */
export function placeOf(engine: Engine, container: EngineContainer, ref: string): CheckpointPlace {
  if (isAbsolute(ref)) {
    const name = basename(ref);
    if (name === "") throw refusal(`checkpoint ${JSON.stringify(ref)}: it can't be the root directory`);
    checkName(name);
    return { directory: dirname(ref), name };
  }
  checkName(ref);
  return { directory: ownCheckpoints(engine, container), name: ref };
}

function checkName(name: string): void {
  checkIdentifier(name, "checkpoint: ");
  if (name.endsWith(PARTIAL)) throw refusal(`checkpoint ${JSON.stringify(name)}: its name can't end in ${PARTIAL}`);
}

/** Those that have names go with their container. @throws a system error */
export async function removeCheckpoints(engine: Engine, container: EngineContainer): Promise<void> {
  const directory = ownCheckpoints(engine, container);
  if (existsSync(directory)) await rm(directory, { recursive: true, force: true });
}

function ownCheckpoints(engine: Engine, { namespace, id }: EngineContainer): string {
  return join(engine.checkpoints, namespace, id);
}

/** How much of a log is told: the lines that say what is wrong, from the end. */
const MAX_LINES = 5;

/** What CRIU has logged last of what is wrong; "" where there is no log. @param work the directory that it has worked in */
export async function criuLog(work: string): Promise<string> {
  try {
    const logs = (await readdir(work, { recursive: true })).filter((name) => name.endsWith(".log")).sort();
    const text = await readFile(join(work, logs.at(-1) ?? ""), "utf8");
    const wrong = text.split("\n").filter((line) => /\bError\b|\bWarn\b/.test(line));
    const errors = wrong.filter((line) => line.includes("Error"));
    return (errors.length > 0 ? errors : wrong).slice(-MAX_LINES).join("\n");
  } catch {
    return "";
  }
}

/** A failure of a runtime that calls CRIU, with what CRIU has logged of it. */
export function withLog(error: unknown, log: string): Failure {
  const why = `${errorText(error)}; CRIU has logged:\n${log}`;
  return new Failure(error instanceof Failure ? error.kind : "internal", "refused", { why }, { cause: error });
}

import { Failure } from "./failure.js";

/** What some work comes to; undefined when there is nothing to do it with. @throws what the work does but for Failure (not-found) */
export async function unlessMissing<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof Failure && error.kind === "not-found") return undefined;
    throw error;
  }
}

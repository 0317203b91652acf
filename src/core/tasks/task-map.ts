import type { TaskName } from "./history.js";

/** A map from the names of tasks. */
export class TaskMap<T> {
  readonly #values = new Map<string, T>();

  get(name: TaskName): T | undefined {
    return this.#values.get(key(name));
  }

  set(name: TaskName, value: T): void {
    this.#values.set(key(name), value);
  }

  delete(name: TaskName): void {
    this.#values.delete(key(name));
  }

  values(): Iterable<T> {
    return this.#values.values();
  }

  get size(): number {
    return this.#values.size;
  }
}

/** An id has no slash. */
function key({ namespace, id }: TaskName): string {
  return `${namespace}/${id}`;
}

import type { NewEvent } from "../events/event.js";
import type { EventBus } from "../events/event-bus.js";
import { Failure } from "../failure/failure.js";
import { checkIdentifier, isIdentifier } from "./identifier.js";
import { checkLabels, type Labels, presentLabels } from "./labels.js";
import type { NamespaceEvent } from "./namespace-event.js";
import type { Store, Table } from "./store.js";

export interface NamespaceRecord {
  name: string;
  labels: Labels;
}

/** Something that a namespace has to be without before it goes. */
export interface Contents {
  /** As an error names it: `containers`. */
  name: string;
  /** Within {@link Store.write}. */
  isIn(namespace: string): boolean;
}

/** The namespaces: who uses one without making it makes it by that. */
export class Namespaces {
  readonly #store: Store;
  readonly #records: Table<NamespaceRecord>;
  readonly #contents: Contents[] = [];
  readonly #deletions: ((namespace: string) => void)[] = [];

  readonly #bus: EventBus;

  constructor(store: Store, bus: EventBus) {
    this.#bus = bus;
    this.#store = store;
    this.#records = store.table("namespaces");
  }

  /** A namespace that has such things can't be deleted. */
  contain(contents: Contents): void {
    this.#contents.push(contents);
  }

  /** Has what goes with a namespace removed. @param remove is called within {@link Store.write} */
  onDelete(remove: (namespace: string) => void): void {
    this.#deletions.push(remove);
  }

  /** What is known of a namespace; of one that nobody has made, its name. */
  get(name: string): Promise<NamespaceRecord> {
    return this.#store.read(() => this.#record(name) ?? { name, labels: {} });
  }

  list(): Promise<NamespaceRecord[]> {
    return this.#store.read(() => this.#records.list([]));
  }

  /** @throws Failure: invalid-argument, already-exists */
  async create(name: string, labels: Labels): Promise<NamespaceRecord> {
    checkIdentifier(name);
    checkLabels(labels, "namespace.Labels: ");
    const record = await this.#store.write(() => {
      if (this.#records.get([name]))
        throw new Failure("already-exists", "record-exists", { record: "namespace", name });
      return this.#put({ name, labels });
    });
    this.#tell({ topic: "/namespaces/create", namespace: name, object: name, payload: { labels: record.labels } });
    return record;
  }

  /**
   * Changes the labels of a namespace, which comes into being by that.
   * @param change makes the new labels of those before
   */
  async update(name: string, change: (before: Labels) => Labels): Promise<NamespaceRecord> {
    checkIdentifier(name);
    const record = await this.#store.write(() => {
      const labels = change(this.#records.get([name])?.labels ?? {});
      checkLabels(labels, "namespace.Labels: ");
      return this.#put({ name, labels });
    });
    this.#tell({ topic: "/namespaces/update", namespace: name, object: name, payload: { labels: record.labels } });
    return record;
  }

  /** @throws Failure: not-found, failed-precondition while something is in it */
  async delete(name: string): Promise<void> {
    await this.#store.write(() => {
      if (!this.#record(name)) throw new Failure("not-found", "no-record", { record: "namespace", name });
      const left = this.#contents.filter((contents) => contents.isIn(name)).map((contents) => contents.name);
      if (left.length > 0) throw new Failure("failed-precondition", "namespace-not-empty", { name, left });
      for (const remove of this.#deletions) remove(name);
      this.#records.remove([name]);
    });
    this.#tell({ topic: "/namespaces/delete", namespace: name, object: name, payload: {} });
  }

  /** Within {@link Store.write}: something is put into the namespace. @throws Failure (invalid-argument) for a name that can't be one */
  use(name: string): void {
    checkIdentifier(name, "namespace validation: ");
    if (!this.#records.get([name])) this.#put({ name, labels: {} });
  }

  #tell(event: NewEvent<NamespaceEvent>): void {
    this.#bus.publish(event);
  }

  /** What is no name is none of a record: it may be longer than a key can be. */
  #record(name: string): NamespaceRecord | undefined {
    return isIdentifier(name) ? this.#records.get([name]) : undefined;
  }

  #put({ name, labels }: NamespaceRecord): NamespaceRecord {
    const record = { name, labels: presentLabels(labels) };
    this.#records.put([name], record);
    return record;
  }
}

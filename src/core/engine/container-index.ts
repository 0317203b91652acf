import { Failure, refusal } from "../failure/failure.js";
import type { EngineContainer } from "./engine-container.js";
import { GoneContainers } from "./gone-containers.js";

/** Who begins with that many digits of an id means a container. */
const MIN_PREFIX = 1;
/** How many ids an error lists. */
const MAX_SHOWN = 5;

/** The engine's containers by their ids, beginnings of ids, and names. */
export class ContainerIndex {
  readonly #namespaces = new Map<string, { ids: Map<string, EngineContainer>; names: Map<string, EngineContainer> }>();

  /** The requests that have made what was removed at its end, by namespace and id. */
  readonly #ended = new GoneContainers<string>();

  /** Takes note of one that has run, and is removed since it has ended: who has it run asks again when nobody has answered. */
  keepEnded(container: EngineContainer): void {
    this.#ended.set(container, container.request);
  }

  /** Whether this very request has made one that has run, and is gone. */
  hasEnded(namespace: string, id: string, request: string): boolean {
    return this.#ended.get(namespace, id) === request;
  }

  /** @throws Failure (already-exists) when its id or its name is taken */
  add(container: EngineContainer): void {
    const { id, name } = container;
    const { ids, names } = this.#of(container.namespace);
    if (ids.has(id)) throw new Failure("already-exists", "record-exists", { record: "container", name: id });
    this.#requireFree(container.namespace, name);
    ids.set(id, container);
    if (name !== "") names.set(name, container);
  }

  remove(container: EngineContainer): void {
    const { ids, names } = this.#of(container.namespace);
    if (ids.get(container.id) === container) ids.delete(container.id);
    if (names.get(container.name) === container) names.delete(container.name);
    if (ids.size === 0) this.#namespaces.delete(container.namespace);
  }

  /** @param name "" is none. @throws Failure (already-exists) */
  rename(container: EngineContainer, name: string): void {
    if (name === container.name) return;
    this.#requireFree(container.namespace, name);
    const { names } = this.#of(container.namespace);
    names.delete(container.name);
    container.name = name;
    if (name !== "") names.set(name, container);
  }

  /** By its whole id. */
  get(namespace: string, id: string): EngineContainer | undefined {
    return this.#namespaces.get(namespace)?.ids.get(id);
  }

  /** By its id, its name, or the beginning of its id. @throws Failure: not-found, invalid-argument for the beginning of several */
  find(namespace: string, text: string): EngineContainer {
    if (text === "") throw refusal("which container? name one by its id, the beginning of it, or its name");
    const found = this.#namespaces.get(namespace);
    const one = found?.ids.get(text) ?? found?.names.get(text) ?? this.#byPrefix(namespace, text);
    if (one === undefined) throw new Failure("not-found", "container-not-found", { id: text });
    return one;
  }

  all(): Iterable<EngineContainer> {
    return [...this.#namespaces.values()].flatMap(({ ids }) => [...ids.values()]);
  }

  /** Those of a namespace, in the order in which they were made. */
  list(namespace: string): EngineContainer[] {
    return [...(this.#namespaces.get(namespace)?.ids.values() ?? [])];
  }

  #byPrefix(namespace: string, prefix: string): EngineContainer | undefined {
    if (prefix.length < MIN_PREFIX) return undefined;
    const found = this.list(namespace).filter(({ id }) => id.startsWith(prefix));
    if (found.length <= 1) return found[0];
    const ids = found.slice(0, MAX_SHOWN).map(({ id }) => id);
    const more = found.length > MAX_SHOWN ? `, and ${found.length - MAX_SHOWN} more` : "";
    throw refusal(`${JSON.stringify(prefix)} is the beginning of several containers' ids: ${ids.join(", ")}${more}`);
  }

  #requireFree(namespace: string, name: string): void {
    if (name !== "" && this.#namespaces.get(namespace)?.names.has(name))
      throw new Failure("already-exists", "refused", { why: `there is a container named ${JSON.stringify(name)}` });
  }

  #of(namespace: string) {
    let found = this.#namespaces.get(namespace);
    if (found === undefined) {
      found = { ids: new Map(), names: new Map() };
      this.#namespaces.set(namespace, found);
    }
    return found;
  }
}

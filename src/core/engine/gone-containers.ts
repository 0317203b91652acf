/** Of how many it is known: enough for who asks again after a lost connection. */
const MOST = 1_000;

/** What is kept in mind of containers that are gone; of the last ones only. */
export class GoneContainers<Value> {
  readonly #values = new Map<string, Value>();

  set({ namespace, id }: { namespace: string; id: string }, value: Value): void {
    const key = `${namespace}/${id}`;
    this.#values.delete(key);
    this.#values.set(key, value);
    if (this.#values.size > MOST) this.#values.delete(this.#values.keys().next().value!);
  }

  /** @param id the whole of it */
  get(namespace: string, id: string): Value | undefined {
    return this.#values.get(`${namespace}/${id}`);
  }
}

import { randomUUID } from "node:crypto";
import type { Store, Table } from "./store.js";

/** Who this daemon is, for as long as its store lives. */
export class Identity {
  readonly #store: Store;
  readonly #records: Table<string>;

  constructor(store: Store) {
    this.#store = store;
    this.#records = store.table("daemon");
  }

  /** Made up at the first use. */
  async uuid(): Promise<string> {
    const known = await this.#store.read(() => this.#records.get([UUID]));
    return known ?? (await this.#store.write(() => this.#records.get([UUID]) ?? this.#make()));
  }

  #make(): string {
    const uuid = randomUUID();
    this.#records.put([UUID], uuid);
    return uuid;
  }
}

const UUID = "uuid";

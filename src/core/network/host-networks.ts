import type { ContainerName, ContainerRules, Endpoint, Network } from "./network.js";

export interface HostNetworksOptions {
  /** Who this daemon is (core/metadata/identity.ts); it is asked for at the first use. */
  identity: () => Promise<string>;
  /** Is told what fails that nobody waits for: a repair. */
  onError: (error: unknown) => void;
  /** Is told after somebody else had removed our rules, and they are back: what others than us have put into our sets is lost. */
  onRenewed?: (() => void) | undefined;
}

/** All that there is to be on the host. */
export interface HostState {
  /** Those that a container is on; a bridge of ours of any other goes. */
  networks: readonly Network[];
  containers: ReadonlyMap<ContainerName, ContainerRules>;
}

/**
 * Networks as the host's kernel has them: bridges, pairs of devices, rules. It knows nothing but what it is told, and keeps that in memory:
 * {@link restore} comes first. Everything can be repeated; what was tried and failed leaves nothing behind that `remove` and `withdraw`
 * don't take away.
 */
export class HostNetworks {
  readonly #options: HostNetworksOptions;

  constructor(options: HostNetworksOptions) {
    this.#options = options;
  }

  /** Has the bridges that endpoints need: with their addresses, and the host forwarding. @throws Failure */
  async prepare(_endpoints: readonly Endpoint[]): Promise<void> {
    throw this.#unbuilt("prepare");
  }

  /**
   * Connects a network namespace with networks: a pair of devices each, the container's with its name, addresses and routes. The bridges
   * are there ({@link prepare}).
   * @param nsFd of the namespace; open until this resolves
   * @throws Failure; already-exists when the namespace has a device of that name
   */
  async enter(_nsFd: number, _endpoints: readonly Endpoint[]): Promise<void> {
    throw this.#unbuilt("enter");
  }

  /** Takes the devices of endpoints away, on both sides, and bridges that nothing is connected to any more. Fine when there are none. */
  async remove(_endpoints: readonly Endpoint[]): Promise<void> {
    throw this.#unbuilt("remove");
  }

  /** Has the host let through what a container may send and get, in place of what was published of it before. @throws Failure */
  async publish(_container: ContainerName, _rules: ContainerRules): Promise<void> {
    throw this.#unbuilt("publish");
  }

  /** Takes away what {@link publish} has made. Fine when there is nothing. */
  async withdraw(_container: ContainerName): Promise<void> {
    throw this.#unbuilt("withdraw");
  }

  /** {@link publish} of two containers in one step: nobody finds a port closed that moves from one to the other. @throws Failure */
  async move(
    _from: ContainerName,
    _fromRules: ContainerRules,
    _to: ContainerName,
    _toRules: ContainerRules,
  ): Promise<void> {
    throw this.#unbuilt("move");
  }

  /**
   * Has all rules as they are to be, in one step, and bridges where they are missing; takes away what is ours and nobody needs. A running
   * container's devices can only be made by {@link enter}: those that are missing are told of.
   * @throws Failure
   */
  async restore(_state: HostState): Promise<{ missing: Endpoint[] }> {
    throw this.#unbuilt("restore");
  }

  /** As {@link restore}, of what is known already. @returns what was not as it is to be, a sentence each */
  async repair(): Promise<string[]> {
    throw this.#unbuilt("repair");
  }

  /** The end of the daemon: everything on the host stays as it is. */
  async close(): Promise<void> {}

  #unbuilt(what: string): Error {
    return new Error(`networks on the host: ${what} is not there yet (${Object.keys(this.#options).join()})`);
  }
}

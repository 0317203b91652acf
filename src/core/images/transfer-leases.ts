import { Failure } from "../failure/failure.js";
import type { Leases } from "../metadata/leases.js";

/** What the transfer is that a lease was made for: the next one of the same image takes it over. */
const PURPOSE = "containerd-ts/transfer";
const EXPIRE = "containerd.io/gc.expire";

/** In ms: how long what a transfer has brought is kept for the next try, when it has not come to its end. */
const KEPT = 24 * 60 * 60 * 1000;
/** How often in that time a transfer that is under way says so. */
const RENEWALS = 24;

/** The leases that protect what pulls and imports bring, until an image has it. */
export class TransferLeases {
  readonly #leases: Leases;
  readonly #kept: number;
  readonly #active = new Set<string>();

  /** @param kept in ms: how long what a transfer has brought is kept after its last sign of life */
  constructor(leases: Leases, kept = KEPT) {
    this.#leases = leases;
    this.#kept = kept;
  }

  /**
   * Does work under a lease, which ends with it. When the work fails, or the daemon is killed, the lease stays for a day, and with it what
   * is whole: unless the disk is full.
   * @param given a lease of the client's own, whose business its end is
   * @param purpose what is transferred
   */
  async during<T>(
    namespace: string,
    given: string | undefined,
    purpose: string,
    work: (lease: string) => Promise<T>,
  ): Promise<T> {
    if (given !== undefined) return await work(given);
    const labels = () => ({ [PURPOSE]: purpose, [EXPIRE]: new Date(Date.now() + this.#kept).toISOString() });
    const { id } = await this.#leases.create(namespace, "", labels());
    const key = `${namespace}/${id}`;
    this.#active.add(key);
    const letGo = this.#leases.keep(namespace, id);
    // When somebody has deleted it, the work finds out by itself.
    const renew = () => this.#leases.relabel(namespace, id, labels()).catch(() => {});
    const renewal = setInterval(renew, this.#kept / RENEWALS).unref();
    try {
      await this.#takeOver(namespace, id, purpose);
      const result = await work(id);
      await this.#leases.delete(namespace, id);
      return result;
    } catch (error) {
      const isUseless = isDiskFull(error) || (await this.#isEmpty(namespace, id));
      if (isUseless) await this.#leases.delete(namespace, id).catch(() => {});
      throw error;
    } finally {
      clearInterval(renewal);
      letGo();
      this.#active.delete(key);
    }
  }

  /** What earlier transfers of the same image have left becomes this one's: there is one lease at most. */
  async #takeOver(namespace: string, lease: string, purpose: string): Promise<void> {
    for (const { id, labels } of await this.#leases.list(namespace)) {
      if (labels[PURPOSE] !== purpose || this.#active.has(`${namespace}/${id}`)) continue;
      try {
        for (const resource of await this.#leases.resources(namespace, id))
          await this.#leases.addResource(namespace, lease, resource);
        await this.#leases.delete(namespace, id);
      } catch (error) {
        // One that was under way has let go of it since, or another one has taken it over.
        if (!(error instanceof Failure && error.kind === "not-found")) throw error;
      }
    }
  }

  async #isEmpty(namespace: string, id: string): Promise<boolean> {
    const resources = await this.#leases.resources(namespace, id).catch(() => []);
    return resources.length === 0;
  }
}

/** A registry may be out of something as well: that passes. */
function isDiskFull(error: unknown): boolean {
  return (
    error instanceof Failure &&
    error.kind === "resource-exhausted" &&
    error.what !== "registry-failed" &&
    error.what !== "hosts-failed"
  );
}

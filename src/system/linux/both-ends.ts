/** Collects what a program prints; if that is too much, only its beginning and its end. */
export class BothEnds {
  readonly #headLimit: number;
  readonly #tailLimit: number;
  readonly #head: Buffer[] = [];
  #headLength = 0;
  #tail: Buffer = Buffer.alloc(0);
  #omitted = 0;

  /** How many bytes are kept of either end. */
  constructor(headLimit: number, tailLimit: number) {
    this.#headLimit = headLimit;
    this.#tailLimit = tailLimit;
  }

  append(chunk: Buffer): void {
    const room = this.#headLimit - this.#headLength;
    if (room > 0) {
      this.#head.push(chunk.subarray(0, room));
      this.#headLength += Math.min(chunk.length, room);
    }
    if (chunk.length <= room) return;
    const rest = Buffer.concat([this.#tail, chunk.subarray(room)]);
    const omitted = Math.max(0, rest.length - this.#tailLimit);
    this.#omitted += omitted;
    this.#tail = rest.subarray(omitted);
  }

  /** With how much is missing in between, if anything is. */
  toString(): string {
    if (this.#omitted === 0) return Buffer.concat([...this.#head, this.#tail]).toString();
    return `${Buffer.concat(this.#head)}\n[${this.#omitted} bytes]\n${this.#tail}`;
  }
}

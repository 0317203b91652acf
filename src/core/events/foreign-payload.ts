/** What a client has published: of a type that only who reads it knows, handed on byte for byte. */
export class ForeignPayload {
  constructor(
    readonly typeUrl: string,
    readonly value: Buffer,
  ) {}
}

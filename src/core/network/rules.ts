/** Something in a set or map of our table, in the syntax of nft. */
export interface Element {
  set: string;
  /** `tcp . 0.0.0.0 . 8080` */
  key: string;
  /** Of a map: `10.1.0.2 . 80`; of an element with a timeout: undefined, it is part of the key's text. */
  value?: string | undefined;
}

/** What our tables on a host are called. @param identity of the daemon (core/metadata/identity.ts) */
export function tableName(identity: string): string {
  return `containerd-ts-${identity.replaceAll("-", "").slice(0, 8)}`;
}

/** What a registry wants to know of who asks. Never to be shown: not in a log, an event, an error, or an argument of a program. */
export type Credentials =
  | { readonly kind: "password"; readonly username: string; readonly password: string }
  /** To get tokens with: what `docker login` keeps of some registries instead of the password. */
  | { readonly kind: "identity-token"; readonly token: string }
  /** A token that the registry takes as it is. */
  | { readonly kind: "registry-token"; readonly token: string };

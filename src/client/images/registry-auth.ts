import { anyText, type Check, checkOptions, required, wrong } from "../options/option-checks.js";

/** Who somebody is at a registry. */
export type RegistryCredentials =
  | { username: string; password: string }
  /** What `docker login` gets in place of a password. */
  | { identityToken: string }
  /** What is sent to the registry as it is, as a bearer's token. */
  | { registryToken: string };

/** Who wants to know, and about which image. */
export interface AuthQuestion {
  readonly host: string;
  readonly reference: string;
}

/** Credentials, or who knows them; undefined is an answer, too: nobody. */
export type RegistryAuth =
  | RegistryCredentials
  | ((about: AuthQuestion) => RegistryCredentials | undefined | Promise<RegistryCredentials | undefined>);

const WHAT = "{ username, password }, { identityToken }, { registryToken }, or a function that answers one of them";

/** An error of it does not show what is secret. */
export const authCheck: Check = (value, name) => {
  if (typeof value === "function") return;
  if (typeof value !== "object" || value === null) throw wrong(name, WHAT, value === null ? null : typeof value);
  const keys = Object.keys(value).sort().join();
  if (keys === "password,username")
    checkOptions(value, { username: required(anyText), password: required(secret) }, name);
  else if (keys === "identityToken") checkOptions(value, { identityToken: required(secret) }, name);
  else if (keys === "registryToken") checkOptions(value, { registryToken: required(secret) }, name);
  else throw new TypeError(`${name} must be ${WHAT}, not an object of ${keys || "nothing"}`);
};

const secret: Check = (value, name) => {
  if (typeof value !== "string") throw new TypeError(`${name} must be a text, not ${typeof value}`);
};

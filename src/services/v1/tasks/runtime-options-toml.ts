import { createRequire } from "node:module";
import { refusal } from "../../../core/failure/failure.js";
import type { Options } from "../../../proto/containerd/types/runc/options/oci.js";

/** The options that there are, by the names that containerd's `config.toml` has for them, with an example of a value. */
const FIELDS: Readonly<Record<string, { field: keyof Options; like: string | number | boolean }>> = {
  BinaryName: { field: "binaryName", like: "" },
  Root: { field: "root", like: "" },
  CriuPath: { field: "criuPath", like: "" },
  CriuImagePath: { field: "criuImagePath", like: "" },
  CriuWorkPath: { field: "criuWorkPath", like: "" },
  ShimCgroup: { field: "shimCgroup", like: "" },
  SystemdCgroup: { field: "systemdCgroup", like: false },
  NoPivotRoot: { field: "noPivotRoot", like: false },
  NoNewKeyring: { field: "noNewKeyring", like: false },
  IoUid: { field: "ioUid", like: 0 },
  IoGid: { field: "ioGid", like: 0 },
};

/**
 * runc's options as `config.toml` of containerd writes them.
 * @throws SyntaxError for what is no TOML, Failure (invalid-argument) for what is no option
 */
export function optionsOfToml(text: string): Partial<Options> {
  // Loaded at first use.
  const { parse } = createRequire(import.meta.url)("smol-toml") as typeof import("smol-toml");
  const options: Partial<Record<keyof Options, unknown>> = {};
  for (const [name, value] of Object.entries(parse(text))) {
    const known = Object.hasOwn(FIELDS, name) ? FIELDS[name]! : undefined;
    if (known === undefined)
      throw refusal(`${JSON.stringify(name)} is no option of runc's: ${Object.keys(FIELDS).join(", ")} are`);
    if (typeof value !== typeof known.like || (typeof value === "number" && !isId(value)))
      throw refusal(`${name} = ${JSON.stringify(value)} of the runtime's options has to be a ${nameOf(known.like)}`);
    options[known.field] = value;
  }
  return options as Partial<Options>;
}

function isId(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value < 2 ** 32;
}

function nameOf(like: string | number | boolean): string {
  return typeof like === "number" ? "user or group id" : typeof like;
}

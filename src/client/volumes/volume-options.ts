import type { Mount } from "../../proto/containerdts/engine/v1/engine.js";
import { type Check, flag, object, text, wrong } from "../options/option-checks.js";

/** A volume at a place in a container. */
export interface VolumeOptions {
  /** It is made when it is not there. Default: one without a name, which goes with the container. */
  name?: string | undefined;
  /** Default: false. */
  readOnly?: boolean | undefined;
  /** Whether a new one begins empty, and not with what the image has at its place. Default: false. */
  noCopy?: boolean | undefined;
}

/** A volume by its name, or as {@link VolumeOptions}; `{}` is one without a name. */
export type VolumeOption = string | VolumeOptions;

export const volumeName = text("a name of a volume, of letters, digits, and _ . - behind the first", (value) =>
  /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}$/.test(value),
);

const options = object<VolumeOptions>({ name: volumeName, readOnly: flag, noCopy: flag });

export const volumeCheck: Check = (value, name) => {
  if (typeof value === "string") volumeName(value, name);
  else if (typeof value === "object" && value !== null) options(value, name);
  else throw wrong(name, "a name, or { name, readOnly, noCopy }", value);
};

/** @param none a mount that says nothing */
export function volumeMount(
  destination: string,
  volume: VolumeOption,
  none: Omit<Mount, "type" | "destination">,
): Mount {
  const { name = "", readOnly = false, noCopy = false } = typeof volume === "string" ? { name: volume } : volume;
  return { ...none, type: "volume", source: name, destination, readOnly, noCopy };
}

import { Failure } from "../failure/failure.js";

/** What an image is made for, in the words of OCI and Go: `linux`, `amd64`. Empty: not said. */
export interface Platform {
  os: string;
  architecture: string;
  /** Of the architecture: `v7` of an arm. */
  variant: string;
  osVersion: string;
}

/** As Go names architectures: what Node, the kernel and others call them. */
const ARCHITECTURES: ReadonlyMap<string, readonly [architecture: string, variant: string]> = new Map([
  ["x64", ["amd64", ""]],
  ["x86_64", ["amd64", ""]],
  ["x86-64", ["amd64", ""]],
  ["ia32", ["386", ""]],
  ["i386", ["386", ""]],
  ["aarch64", ["arm64", ""]],
  ["armhf", ["arm", "v7"]],
  ["armel", ["arm", "v6"]],
]);

/** What an architecture without a variant is. */
const FIRST_VARIANTS: ReadonlyMap<string, string> = new Map([
  ["amd64", "v1"],
  ["arm64", "v8"],
  ["arm", "v7"],
]);

/** How many platforms an error lists. */
const MAX_SHOWN = 20;

/** What this machine runs. */
export const HERE: Platform = canonical({ os: "linux", architecture: process.arch, variant: "", osVersion: "" });

/** A platform in the words by which platforms are compared: the variant that an architecture has anyway is not said. */
export function canonical(platform: Partial<Platform>): Platform {
  const os = (platform.os ?? "").toLowerCase();
  const named = (platform.architecture ?? "").toLowerCase();
  const [architecture, itsVariant] = ARCHITECTURES.get(named) ?? [named, ""];
  const given = (platform.variant ?? "").toLowerCase() || itsVariant;
  const variant = /^\d+$/.test(given) ? `v${given}` : given;
  return {
    os: os === "macos" ? "darwin" : os,
    architecture,
    variant: variant === FIRST_VARIANTS.get(architecture) ? "" : variant,
    osVersion: platform.osVersion ?? "",
  };
}

/**
 * How well something made for `made` serves who wants `wanted`: the lower the better; undefined: not at all. An older variant of the same
 * architecture does, a newer one does not, and another architecture never.
 */
export function distance(wanted: Platform, made: Platform): number | undefined {
  const [want, is] = [canonical(wanted), canonical(made)];
  if (want.os !== is.os || want.architecture !== is.architecture) return undefined;
  if (want.osVersion !== "" && is.osVersion !== want.osVersion && !is.osVersion.startsWith(`${want.osVersion}.`))
    return undefined;
  if (want.variant === is.variant) return 0;
  const [wantedVersion, version] = [versionOf(want), versionOf(is)];
  return wantedVersion === undefined || version === undefined || version > wantedVersion
    ? undefined
    : wantedVersion - version;
}

/** The one of `candidates` that serves best who wants one of `wanted`, of which an earlier one is better than a later one. */
export function bestOf<T extends { platform?: Platform | undefined }>(
  wanted: readonly Platform[],
  candidates: readonly T[],
): T | undefined {
  for (const want of wanted) {
    let best: T | undefined;
    let least = Infinity;
    for (const candidate of candidates) {
      const far = candidate.platform && distance(want, candidate.platform);
      if (far === undefined || far >= least) continue;
      best = candidate;
      least = far;
    }
    if (best !== undefined) return best;
  }
  return undefined;
}

/** As users write it: `linux/arm/v7`. */
export function platformText(platform: Platform): string {
  const { os, architecture, variant, osVersion } = canonical(platform);
  const system = osVersion === "" ? os : `${os}(${osVersion})`;
  return [system, architecture, variant].filter((part) => part !== "").join("/");
}

/** Nothing of an image is for what is wanted; lists what there is. */
export function noSuchPlatform(image: string, wanted: readonly Platform[], made: readonly Platform[]): Failure {
  const list = [...new Set(made.map(platformText))].filter((text) => text !== "unknown/unknown");
  const more = list.length > MAX_SHOWN ? `, and ${list.length - MAX_SHOWN} more` : "";
  const there = list.length === 0 ? "nothing that names a platform" : list.slice(0, MAX_SHOWN).join(", ") + more;
  return new Failure("not-found", "refused", {
    why: `image ${image} has nothing for ${wanted.map(platformText).join(", ")}: it has ${there}`,
    about: "image",
  });
}

function versionOf({ architecture, variant }: Platform): number | undefined {
  const text = variant === "" ? FIRST_VARIANTS.get(architecture) : variant;
  return /^v\d{1,3}$/.test(text ?? "") ? Number(text!.slice(1)) : undefined;
}

import type { Platform as PlatformMessage } from "../../proto/containerd/types/platform.js";
import { text } from "../options/option-checks.js";

/** What Node calls an architecture, in the words of images. */
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: "amd64", ia32: "386" };

/** What this machine runs: `linux/amd64`. */
export const THIS_PLATFORM = `linux/${ARCHITECTURES[process.arch] ?? process.arch}`;

export const platformCheck = text("a platform like linux/amd64 or linux/arm/v7", (value) =>
  /^[\w.-]+\/[\w.-]+(?:\/[\w.-]+)?$/.test(value),
);

/** As the daemon is asked for it. */
export function platformMessage(platform: string): PlatformMessage {
  const [os = "", architecture = "", variant = ""] = platform.split("/");
  return { os, architecture, variant, osVersion: "", osFeatures: [] };
}

/** As an index or a config says it; what says nothing is for anything. */
export function platformText({ os, architecture, variant }: Partial<PlatformMessage>): string {
  return [os, architecture, variant].filter((part) => part).join("/");
}

/** Whether something made for the one runs where the other is wanted; a variant that is not said does. */
export function isFor(made: string, wanted: string): boolean {
  const [one, other] = [made, wanted].map((platform) => platform.replace(/^(linux\/arm64)\/v8$/, "$1").split("/"));
  return one![0] === other![0] && one![1] === other![1] && (!one![2] || !other![2] || one![2] === other![2]);
}

import { defaultSeccompProfile, type SeccompProfile, type SeccompRule } from "../../../contract/seccomp.js";
import { HERE } from "../../images/platform.js";
import type { ContainerConfig } from "../container-config.js";
import { isAtLeast, type KernelVersion } from "./host-facts.js";
import { invalidOption } from "./invalid-option.js";

/** When a rule of Docker's form counts: what is not said does not matter. */
interface Condition {
  caps?: string[];
  arches?: string[];
  minKernel?: string;
}

/** Docker's form of a profile, whose rules depend on who uses it; OCI's form is one without what is particular to it. */
interface GivenRule extends Partial<SeccompRule> {
  name?: string;
  comment?: string;
  includes?: Condition;
  excludes?: Condition;
}

interface GivenProfile {
  defaultAction: string;
  architectures?: string[];
  archMap?: { architecture: string; subArchitectures?: string[] | null }[];
  syscalls?: GivenRule[];
  [field: string]: unknown;
}

/** In characters: of a profile. */
const LARGEST = 1 << 20;

/** What libseccomp calls the architectures that Node runs on. */
const ARCHITECTURES: Readonly<Record<string, string>> = {
  x64: "SCMP_ARCH_X86_64",
  ia32: "SCMP_ARCH_X86",
  arm64: "SCMP_ARCH_AARCH64",
  arm: "SCMP_ARCH_ARM",
  riscv64: "SCMP_ARCH_RISCV64",
  ppc64: "SCMP_ARCH_PPC64LE",
  s390x: "SCMP_ARCH_S390X",
  loong64: "SCMP_ARCH_LOONGARCH64",
};

/**
 * Which system calls a container may make; undefined: all of them.
 * @param capabilities what its processes have at most
 * @throws Failure (invalid-argument) for what is no profile
 */
export function seccompOf(
  { seccomp, privileged }: Pick<ContainerConfig, "seccomp" | "privileged">,
  capabilities: readonly string[],
  kernel: KernelVersion,
): object | undefined {
  if (seccomp === "unconfined") return undefined;
  if (seccomp === "default" || seccomp === "") return privileged ? undefined : defaultSeccompProfile(capabilities);
  return resolved(parse(seccomp), capabilities, kernel);
}

function parse(text: string): GivenProfile {
  const refuse = (why: string) =>
    invalidOption("seccomp", text, `it must be "default", "unconfined" or a profile as JSON: ${why}`);
  if (text.length > LARGEST) throw refuse(`this has ${text.length} characters, at most ${LARGEST} are read`);
  let profile: Partial<GivenProfile>;
  try {
    profile = JSON.parse(text);
  } catch (error) {
    throw refuse((error as Error).message);
  }
  if (typeof profile !== "object" || profile === null || typeof profile.defaultAction !== "string")
    throw refuse("it is an object with defaultAction");
  const { syscalls = [], archMap = [], architectures = [] } = profile;
  for (const list of [syscalls, archMap, architectures] as unknown[])
    if (list !== null && !Array.isArray(list)) throw refuse("syscalls, archMap and architectures are lists");
  for (const rule of (profile.syscalls ?? []) as unknown[]) {
    const { names, name, action } = (rule ?? {}) as GivenRule;
    if ((!isTexts(names) && typeof name !== "string") || typeof action !== "string")
      throw refuse(`a rule has names and an action, which ${JSON.stringify(rule)} has not`);
  }
  return profile as GivenProfile;
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((one) => typeof one === "string");
}

/** What of a profile counts for this container and this machine, in OCI's form. */
function resolved(
  { archMap, syscalls, ...profile }: GivenProfile,
  capabilities: readonly string[],
  kernel: KernelVersion,
): SeccompProfile {
  const holds = (condition: Condition | undefined, isAny: boolean): boolean => {
    const { caps = [], arches = [], minKernel } = condition ?? {};
    const each = [
      ...(caps ?? []).map((name) => capabilities.includes(name)),
      ...((arches ?? []).length > 0 ? [arches.includes(HERE.architecture)] : []),
      ...(minKernel ? [isAtLeast(kernel, versionOf(minKernel))] : []),
    ];
    return isAny ? each.some(Boolean) : each.every(Boolean);
  };
  const known = archMap?.find(({ architecture }) => architecture === ARCHITECTURES[process.arch]);
  return {
    ...profile,
    ...(known && { architectures: [known.architecture, ...(known.subArchitectures ?? [])] }),
    syscalls: (syscalls ?? [])
      .filter(({ includes, excludes }) => holds(includes, false) && !holds(excludes, true))
      .map(({ includes: _, excludes: __, comment: ___, name, names, ...rule }) => ({
        ...(rule as Omit<SeccompRule, "names">),
        names: [...(names ?? []), ...(name === undefined ? [] : [name])],
      })),
  };
}

function versionOf(text: string): KernelVersion {
  const [major = 0, minor = 0] = text.split(".").map(Number);
  return [major, minor];
}

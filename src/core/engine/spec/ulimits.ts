import type { Ulimit } from "../container-config.js";
import { checkWhole, invalidOption } from "./invalid-option.js";
import type { OciRlimit } from "./oci-spec.js";

const NAMES = [
  "core",
  "cpu",
  "data",
  "fsize",
  "locks",
  "memlock",
  "msgqueue",
  "nice",
  "nofile",
  "nproc",
  "rss",
  "rtprio",
  "rttime",
  "sigpending",
  "stack",
];

/** RLIM_INFINITY */
const UNLIMITED = 2n ** 64n - 1n;

/** @param mostFiles as the kernel has it for every process (fs.nr_open). @throws Failure (invalid-argument) */
export function rlimitsOf(ulimits: readonly Ulimit[], mostFiles: number): OciRlimit[] {
  const seen = new Set<string>();
  return ulimits.map(({ name, soft, hard }, index) => {
    const option = `ulimits[${index}]`;
    if (!NAMES.includes(name)) throw invalidOption(`${option}.name`, name, `it must be one of ${NAMES.join(", ")}`);
    if (seen.has(name)) throw invalidOption(`${option}.name`, name, "it is there twice");
    seen.add(name);
    const allowed = "a whole number, 0 or more, or -1 for no limit";
    checkWhole(`${option}.soft`, soft, -1, Number.MAX_SAFE_INTEGER, allowed);
    checkWhole(`${option}.hard`, hard, -1, Number.MAX_SAFE_INTEGER, allowed);
    if (hard !== -1 && (soft === -1 || soft > hard))
      throw invalidOption(`${option}.soft`, soft, `it must not be above the hard limit, ${hard}`);
    if (name === "nofile" && (hard === -1 || hard > mostFiles))
      throw invalidOption(`${option}.hard`, hard, `this kernel has at most ${mostFiles} (fs.nr_open)`);
    const limit = (value: number) => (value === -1 ? UNLIMITED : value);
    return { type: `RLIMIT_${name.toUpperCase()}`, soft: limit(soft), hard: limit(hard) };
  });
}

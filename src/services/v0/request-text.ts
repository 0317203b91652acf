import { Failure } from "../../core/failure/failure.js";

/** Are only ever compared with or shown, or have rules of their own about what they may hold. */
const UNCHECKED_FIELDS = new Set(["id", "labels"]);

/**
 * Refuses a request that has a NUL in a text. Paths, arguments and environment variables end at their first NUL for the kernel: what was
 * checked and recorded would not be what is used, and what comes behind it could become a field of its own.
 * @throws Failure (invalid-argument) that names the field and quotes it
 */
export function checkText(request: object): void {
  for (const [field, value] of Object.entries(request)) {
    if (!UNCHECKED_FIELDS.has(field)) checkValue(field, value);
  }
}

function checkValue(field: string, value: unknown): void {
  if (typeof value === "string") {
    if (value.includes("\0")) {
      throw new Failure("invalid-argument", "invalid-value", { name: field, value, why: "a NUL in it" });
    }
  } else if (Array.isArray(value)) {
    for (const item of value) checkValue(field, item);
  } else if (typeof value === "object" && value !== null) {
    checkText(value);
  }
}

import { refusal } from "../../../core/failure/failure.js";
import { parseJson } from "../../../core/files/json.js";

/**
 * The JSON object that a request has as a text.
 * @param what begins the error's text
 * @throws Failure (invalid-argument)
 */
export function jsonObject(what: string, text: Buffer): Record<string, unknown> {
  let value: unknown;
  try {
    value = parseJson(text.toString("utf8"));
  } catch (error) {
    throw refusal(`${what}: ${(error as Error).message}`);
  }
  if (!isObject(value)) throw refusal(`${what}: not a JSON object`);
  return value;
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

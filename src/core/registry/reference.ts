import { DEFAULT_HOST, type ImageName, ImageNameError, parseImageName } from "../../contract/image-name.js";
import { Failure } from "../failure/failure.js";

export { DEFAULT_HOST };

/** An image at a registry, by its full name. */
export type Reference = ImageName;

/**
 * Reads a name as Docker's users type it.
 * @throws Failure (invalid-argument) that quotes it
 */
export function parseReference(text: string): Reference {
  try {
    return parseImageName(text);
  } catch (error) {
    if (!(error instanceof ImageNameError)) throw error;
    const { value, why } = error;
    throw new Failure("invalid-argument", "invalid-value", { name: "image name", value, why }, { cause: error });
  }
}

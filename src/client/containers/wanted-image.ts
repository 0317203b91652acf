import type { CallOptions } from "../api/call-options.js";
import { isImageMissing } from "../errors/containerd-error.js";
import type { Images } from "../images/images.js";
import type { ContainerOptions } from "./container-options.js";

/**
 * Makes a call that needs an image, and fetches that as its options say.
 * @throws what the call or the transfer throws
 */
export async function withImage<T>(
  images: Images,
  { image, pull = "missing", onProgress, auth }: ContainerOptions,
  { signal }: CallOptions,
  call: () => Promise<T>,
): Promise<T> {
  if (image === undefined) return await call();
  if (pull === "always") await images.pull(image, { onProgress, auth, signal });
  try {
    return await call();
  } catch (error) {
    if (pull !== "missing" || !isImageMissing(error)) throw error;
    await images.pull(image, { onProgress, auth, signal });
    return await call();
  }
}

/** An image at a registry, by its full name. */
export interface ImageName {
  /** The full form, which is stored and shown: host, path, and a tag or a digest or both. */
  readonly name: string;
  /** Whose name it is, with a port if one was given: `docker.io`, `localhost:5000`, `[::1]:5000`. */
  readonly host: string;
  /** Of the repository: `library/alpine`. */
  readonly path: string;
  readonly tag?: string;
  /** It wins over the tag. */
  readonly digest?: string;
}

/** What Docker means when no host is named. */
export const DEFAULT_HOST = "docker.io";
/** Docker's name for it in earlier times. */
const FORMER_DEFAULT_HOST = "index.docker.io";
/** Where it keeps the images that are nobody's. */
const DEFAULT_NAMESPACE = "library";
const DEFAULT_TAG = "latest";

/** In characters, host and path together. */
const MAX_NAME = 255;
/** In characters: how much of a name that is far too long is shown. */
const SHOWN = 300;

const HOST_LABEL = "(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])";
const HOST = new RegExp(`^(?:${HOST_LABEL}(?:\\.${HOST_LABEL})*|\\[[a-fA-F0-9:]+\\])(?::([0-9]+))?$`);
const PATH_COMPONENT = /^[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*$/;
const TAG = /^\w[\w.-]{0,127}$/;
const DIGEST = /^sha256:[a-f0-9]{64}$/;
/** What a shortened digest or an image's id looks like. */
const ID = /^[a-f0-9]{64}$/;

/** What is no name of an image. */
export class ImageNameError extends Error {
  override name = "ImageNameError";

  constructor(
    /** As it was typed, shortened when it is far too long. */
    readonly value: string,
    readonly why: string,
  ) {
    super(`invalid image name ${JSON.stringify(value)}: ${why}`);
  }
}

/**
 * Reads a name as Docker's users type it: `[HOST[:PORT]/]PATH[:TAG][@DIGEST]`. Without a host it is one of docker.io's, without a tag and a
 * digest its `latest`.
 * @throws ImageNameError that quotes it
 */
export function parseImageName(text: string): ImageName {
  const wrong = (why: string): ImageNameError =>
    new ImageNameError(text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text, why);
  if (text === "") throw wrong("it is empty");
  if (/^[a-z]+:\/\//i.test(text)) throw wrong("it is no URL: leave out the scheme");
  const at = text.indexOf("@");
  const named = at < 0 ? text : text.slice(0, at);
  const digest = at < 0 ? undefined : text.slice(at + 1);
  if (digest !== undefined && !DIGEST.test(digest)) {
    throw wrong(`${JSON.stringify(digest.slice(0, SHOWN))} is no digest: it is sha256: and 64 hexadecimal digits`);
  }
  // A colon after the last slash begins the tag; one before is that of a port.
  const colon = named.indexOf(":", named.lastIndexOf("/") + 1);
  const tag = colon < 0 ? undefined : named.slice(colon + 1);
  if (tag !== undefined && !TAG.test(tag)) {
    throw wrong(`${JSON.stringify(tag.slice(0, SHOWN))} is no tag: up to 128 letters, digits, "_", ".", "-"`);
  }
  const { host, path } = split(colon < 0 ? named : named.slice(0, colon));
  const port = HOST.exec(host)?.[1];
  if (!HOST.test(host)) throw wrong(`${JSON.stringify(host.slice(0, SHOWN))} is no host`);
  if (port !== undefined && (Number(port) === 0 || Number(port) > 65535)) throw wrong(`there is no port ${port}`);
  if (path === "") throw wrong("there is no name of a repository");
  for (const component of path.split("/")) {
    if (PATH_COMPONENT.test(component)) continue;
    if (component === "") throw wrong("a part of the path is empty");
    if (PATH_COMPONENT.test(component.toLowerCase())) throw wrong("the path must be in lower case");
    throw wrong(
      `${JSON.stringify(component.slice(0, SHOWN))} must be lower case letters and digits, separated by ".", "_", "__" or "-"`,
    );
  }
  if (host === DEFAULT_HOST && ID.test(named)) throw wrong("that is an id, no name");
  const repository = `${host}/${path}`;
  if (repository.length > MAX_NAME) throw wrong(`longer than ${MAX_NAME} characters`);
  const shownTag = tag ?? (digest === undefined ? DEFAULT_TAG : undefined);
  return {
    name: `${repository}${shownTag === undefined ? "" : `:${shownTag}`}${digest === undefined ? "" : `@${digest}`}`,
    host,
    path,
    ...(shownTag === undefined ? {} : { tag: shownTag }),
    ...(digest === undefined ? {} : { digest }),
  };
}

/** Host and path, as Docker tells one from the other. */
function split(repository: string): { host: string; path: string } {
  const slash = repository.indexOf("/");
  const first = repository.slice(0, Math.max(slash, 0));
  // No path begins with a capital letter.
  const isHost = slash >= 0 && (/[.:]/.test(first) || first === "localhost" || first !== first.toLowerCase());
  const host = isHost ? first : DEFAULT_HOST;
  const path = isHost ? repository.slice(slash + 1) : repository;
  if (host !== DEFAULT_HOST && host !== FORMER_DEFAULT_HOST) return { host, path };
  return { host: DEFAULT_HOST, path: path === "" || path.includes("/") ? path : `${DEFAULT_NAMESPACE}/${path}` };
}

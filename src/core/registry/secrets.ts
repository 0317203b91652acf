import type { Credentials } from "./credentials.js";

/** In characters: what is shorter can't be told from any other text. */
const SHORTEST = 4;

/** What a text for people may not have: a server could say back what it was told. */
export class Secrets {
  readonly #given = new Set<string>();
  readonly #texts = new Set<string>();

  get all(): readonly string[] {
    return [...this.#given];
  }

  add(...texts: readonly string[]): void {
    for (const text of texts) {
      if (text.length < SHORTEST) continue;
      this.#given.add(text);
      this.#texts.add(text);
      this.#texts.add(encodeURIComponent(text));
      this.#texts.add(JSON.stringify(text).slice(1, -1));
    }
  }

  conceal(text: string): string {
    let concealed = text;
    for (const secret of this.#texts) concealed = concealed.replaceAll(secret, "<secret>");
    return concealed;
  }
}

export function secretsOf(credentials: Credentials | undefined): Secrets {
  const secrets = new Secrets();
  if (credentials?.kind === "password") {
    const { username, password } = credentials;
    secrets.add(password, Buffer.from(`${username}:${password}`).toString("base64"));
  } else if (credentials !== undefined) {
    secrets.add(credentials.token);
  }
  return secrets;
}

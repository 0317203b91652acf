/** A terminal of a test's own, with somebody at its keyboard: tmux. */
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import type { TestDaemon } from "../harness/daemon.js";
import { eventually, PATIENCE } from "../harness/wait.js";
import { ctrCommand, ctrEnvironment } from "./ctr.js";

let screens = 0;

/** What the shell in the terminal asks with. */
const PROMPT = "host>";

export interface ScreenOptions {
  columns?: number;
  rows?: number;
  /** The command line of the shell: bash or zsh. */
  shell?: string[];
  /** The command line of `ctr`: else the built one. */
  ctr?: string[];
}

/** A shell in a terminal; `ctr` in it is the built one on the daemon's address. */
export class Screen implements Disposable {
  readonly #socket: string;

  constructor(
    daemon: TestDaemon,
    {
      columns = 100,
      rows = 30,
      shell = ["bash", "--norc", "--noprofile"],
      ctr = ctrCommand(daemon),
    }: ScreenOptions = {},
  ) {
    // One for each: the server of the last screen may not have quite ended yet.
    this.#socket = join(daemon.dir, `tmux-${++screens}`);
    this.#tmux(
      ...["-f", "/dev/null", "new-session", "-d", "-s", "test", "-x", String(columns), "-y", String(rows)],
      ...["env", "-i", ...Object.entries(ctrEnvironment(daemon)).map(([name, value]) => `${name}=${value}`)],
      ...shell,
    );
    const command = ctr.join(" ");
    this.line(
      `ctr() { ${command} "$@"; }; PS1='${PROMPT} '; cd ${daemon.dir}; ` +
        `settings() { stty -a | sed '1s/rows.*columns [0-9]*;//'; }; settings >stty.before; clear`,
    );
  }

  /** What is on the screen, without empty lines at its end. */
  get text(): string {
    return this.#tmux("capture-pane", "-p", "-t", "test").trimEnd();
  }

  /** Types a line. */
  line(text: string): void {
    this.type(text);
    this.keys("Enter");
  }

  /** Types, without the key at the end of a line. */
  type(text: string): void {
    this.#tmux("send-keys", "-t", "test", "-l", "--", text);
  }

  /** Presses keys by tmux' names: Enter, C-c, Escape, or a character. */
  keys(...keys: string[]): void {
    this.#tmux("send-keys", "-t", "test", ...keys);
  }

  resize(columns: number, rows: number): void {
    this.#tmux("resize-window", "-t", "test", "-x", String(columns), "-y", String(rows));
  }

  /** Resolves with the screen when it shows this. */
  async shows(what: string | RegExp, timeout = PATIENCE): Promise<string> {
    let seen = "";
    return eventually(
      () => {
        seen = this.text;
        if (typeof what === "string" ? seen.includes(what) : what.test(seen)) return seen;
        throw new Error(`the terminal does not show ${what} but:\n${seen}`);
      },
      { timeout, interval: 20 },
    );
  }

  /** Fails unless the shell is back with the terminal's settings as they were before ctr. */
  async expectRestored(): Promise<void> {
    this.line("clear; settings | diff stty.before - && echo RESTO''RED");
    await this.shows("RESTORED");
  }

  [Symbol.dispose](): void {
    try {
      this.#tmux("kill-server");
    } catch {
      // It ends with its last shell.
    }
  }

  #tmux(...args: string[]): string {
    return execFileSync("tmux", ["-S", this.#socket, ...args], { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  }
}

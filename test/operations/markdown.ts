/** Fenced blocks of a Markdown file. */

export interface Fence {
  /** The line of its opening, counted from 1. */
  line: number;
  language: string;
  /** What follows the language. */
  info: string;
  text: string;
}

export function fences(markdown: string): Fence[] {
  const found: Fence[] = [];
  let open: Fence | undefined;
  markdown.split("\n").forEach((line, index) => {
    const match = /^```(\w*)\s*(.*)$/.exec(line);
    if (open === undefined && match) open = { line: index + 1, language: match[1]!, info: match[2]!, text: "" };
    else if (open !== undefined && line.startsWith("```")) {
      found.push(open);
      open = undefined;
    } else if (open !== undefined) open.text += `${line}\n`;
  });
  if (open !== undefined) throw new Error(`the block at line ${open.line} is never closed`);
  return found;
}

/** Why a block of commands is not run by the tests: "```sh not-run: <reason>"; undefined when it is to be run. */
export function reasonNotToRun({ info }: Fence): string | undefined {
  return /^not-run: (.+)$/.exec(info)?.[1];
}

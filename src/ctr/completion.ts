import type { Command } from "commander";

/** What can follow a command: its subcommands, its flags, and containers where it takes one. */
interface Level {
  /** "containers kill"; empty for ctr itself. */
  path: string;
  commands: readonly { name: string; description: string }[];
  flags: readonly string[];
  /** Flags whose value is the next word. */
  valueFlags: readonly string[];
  /** Which of its arguments name a container. */
  containers: "none" | "first" | "all";
}

const signals = "HUP INT QUIT KILL USR1 USR2 TERM STOP CONT";
/** Paths of the caller's machine; --cwd is one of the container. */
const directoryFlags = "--checkpoint-dir";
const fileFlags = "--tls-ca | --tls-cert | --tls-key";

/** A script for bash; needs nothing of the bash-completion package. */
export function bashCompletion(program: Command): string {
  const levels = levelsOf(program);
  return `# bash completion of ctr; made by "ctr completion bash"
_ctr_containers() {
  ctr "\${_ctr_globals[@]}" containers list 2>/dev/null | awk 'NR > 1 { print $1 }'
}

_ctr_paths() {
  compopt -o filenames 2>/dev/null
  mapfile -t COMPREPLY < <(compgen "$1" -- "$2")
}

_ctr() {
  # Bash also splits at ":" and "="; these are the words as they were typed.
  local rest="$COMP_LINE" word index
  local -a typed=()
  for ((index = 0; index <= COMP_CWORD; index++)); do
    word="\${COMP_WORDS[index]}"
    if [[ index -gt 0 && -n $word && $rest == "$word"* ]]; then typed[-1]+="$word"; else typed+=("$word"); fi
    rest="\${rest#*"$word"}"
  done
  local current="\${typed[-1]}" path="" flag=""
  local -a _ctr_globals=() operands=()
  for word in "\${typed[@]:1:\${#typed[@]}-2}"; do
    if [[ -n $flag ]]; then
      [[ -z $path ]] && _ctr_globals+=("$flag" "$word")
      flag=""
      continue
    fi
    [[ $word == -[!-]?* ]] && word="-$word"
    case "$path:$word" in
${levels.flatMap(valueFlagPatterns).join("")}${levels.flatMap((level) => commandPatterns(level, "path")).join("")}      :-*=*) _ctr_globals+=("$word") ;;
      *:-*) ;;
      *) operands+=("$word") ;;
    esac
  done
  if [[ -z $flag && $current == -*=* ]]; then
    flag="\${current%%=*}" current="\${current#*=}"
    [[ $flag == -[!-]?* ]] && flag="-$flag"
  fi
  if [[ -n $flag ]]; then
    case "$flag" in
      ${directoryFlags}) _ctr_paths -d "$current" ;;
      ${fileFlags}) _ctr_paths -f "$current" ;;
      --id) mapfile -t COMPREPLY < <(compgen -W "$(_ctr_containers)" -- "$current") ;;
      --signal | -s) mapfile -t COMPREPLY < <(compgen -W "${signals}" -- "$current") ;;
    esac
    return
  fi
  local words="" flags=""
  case "$path" in
${levels.map(wordsPattern).join("")}  esac
  # What follows the command of an exec is that command's.
  [[ $path == "containers exec" && \${#operands[@]} -gt 0 ]] && return
  if [[ $current == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$flags" -- "$current")
    return
  fi
  [[ \${#operands[@]} -gt 0 ]] && words=""
  case "$path:\${#operands[@]}" in
    ${containerPatterns(levels)}) words="$words $(_ctr_containers)" ;;
    "containers start:1") _ctr_paths -d "$current" && return ;;
    "completion:0") words="bash zsh" ;;
  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}
complete -F _ctr ctr
`;
}

/** A script for zsh: can be sourced, or put into a folder of $fpath as _ctr. */
export function zshCompletion(program: Command): string {
  const levels = levelsOf(program);
  return `#compdef ctr
# zsh completion of ctr; made by "ctr completion zsh"
_ctr_containers() {
  local -a containers
  containers=(\${(f)"$(ctr $globals containers list 2>/dev/null | awk 'NR > 1 { print $1 }')"})
  compadd -a containers
}

_ctr() {
  local path_="" flag="" word index
  local -a globals operands subcommands flags
  for ((index = 2; index < CURRENT; index++)); do
    word="\${(Q)words[index]}"
    if [[ -n $flag ]]; then
      [[ -z $path_ ]] && globals+=("$flag" "$word")
      flag=""
      continue
    fi
    [[ $word == -[^-]?* ]] && word="-$word"
    case "$path_:$word" in
${levels.flatMap(valueFlagPatterns).join("")}${levels.flatMap((level) => commandPatterns(level, "path_")).join("")}      :-*=*) globals+=("$word") ;;
      *:-*) ;;
      *) operands+=("$word") ;;
    esac
  done
  if [[ -z $flag && "\${words[CURRENT]}" == -*=* ]]; then
    flag="\${words[CURRENT]%%=*}"
    [[ $flag == -[^-]?* ]] && flag="-$flag"
    compset -P '*='
  fi
  if [[ -n $flag ]]; then
    case "$flag" in
      ${directoryFlags}) _files -/ ;;
      ${fileFlags}) _files ;;
      --id) _ctr_containers ;;
      --signal | -s) compadd ${signals} ;;
    esac
    return
  fi
  case "$path_" in
${levels.map(zshLevel).join("")}  esac
  # What follows the command of an exec is that command's.
  [[ $path_ == "containers exec" && $#operands -gt 0 ]] && return
  if [[ "\${words[CURRENT]}" == -* ]]; then
    compadd -- $flags
    return
  fi
  case "$path_:$#operands" in
    ${containerPatterns(levels)}) _ctr_containers ;;
    "containers start:1") _files -/ ;;
    "completion:0") compadd bash zsh ;;
  esac
  (( $#subcommands && ! $#operands )) && _describe command subcommands
}
if [[ \${funcstack[1]} == _ctr ]]; then _ctr "$@"; else compdef _ctr ctr; fi
`;
}

function levelsOf(command: Command, path = ""): Level[] {
  const options = command.options;
  const names = (option: (typeof options)[number]) => [option.long, option.short].filter((name) => name !== undefined);
  const level: Level = {
    path,
    commands: command.commands.map((sub) => ({ name: sub.name(), description: sub.description() })),
    flags: [...options.flatMap((option) => option.long ?? []), "--help"],
    valueFlags: options.filter((option) => option.required).flatMap(names),
    containers: containerArguments(command),
  };
  return [level, ...command.commands.flatMap((sub) => levelsOf(sub, `${path} ${sub.name()}`.trim()))];
}

function containerArguments(command: Command): Level["containers"] {
  const [first] = command.registeredArguments;
  // A start's id is a new one.
  if (first?.name() !== "id" || command.name() === "start") return "none";
  return first.variadic ? "all" : "first";
}

function valueFlagPatterns({ path, valueFlags }: Level): string[] {
  if (valueFlags.length === 0) return [];
  return [`      ${valueFlags.map((flag) => `"${path}:${flag}"`).join(" | ")}) flag="$word" ;;\n`];
}

/** @param variable which holds the path: zsh has a "path" of its own */
function commandPatterns({ path, commands }: Level, variable: string): string[] {
  return commands.map(({ name }) => `      "${path}:${name}") ${variable}="${`${path} ${name}`.trim()}" ;;\n`);
}

function wordsPattern({ path, commands, flags }: Level): string {
  return `    "${path}") words="${commands.map(({ name }) => name).join(" ")}" flags="${flags.join(" ")}" ;;\n`;
}

/** Matches a path with the number of arguments that are there already. */
function containerPatterns(levels: readonly Level[]): string {
  return levels
    .flatMap(({ path, containers }) => {
      if (containers === "none") return [];
      return containers === "all" ? `"${path}:"*` : `"${path}:0"`;
    })
    .join(" | ");
}

function zshLevel({ path, commands, flags }: Level): string {
  const described = commands.map(({ name, description }) => `'${name}:${description.replaceAll("'", "'\\''")}'`);
  return `    "${path}") flags=(${flags.join(" ")}) subcommands=(${described.join(" ")}) ;;\n`;
}

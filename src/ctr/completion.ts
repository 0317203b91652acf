import type { Command } from "commander";

/** What can follow a command: its subcommands, its flags, and containers where it takes one. */
interface Level {
  /** "containers kill"; empty for ctr itself. */
  path: string;
  commands: readonly { name: string; description: string }[];
  flags: readonly string[];
  /** Flags whose value is the next word. */
  valueFlags: readonly string[];
  takesContainer: boolean;
}

/** A script for bash; needs nothing of the bash-completion package. */
export function bashCompletion(program: Command): string {
  const levels = levelsOf(program);
  return `# bash completion of ctr; made by "ctr completion bash"
_ctr_containers() {
  ctr \${_ctr_address:+--address "$_ctr_address"} containers list 2>/dev/null | awk 'NR > 1 { print $1 }'
}

_ctr() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD - 1]}"
  local path="" word skip="" index _ctr_address=""
  for ((index = 1; index < COMP_CWORD; index++)); do
    word="\${COMP_WORDS[index]}"
    if [[ -n $skip ]]; then
      [[ $skip == --address ]] && _ctr_address="$word"
      skip=""
      continue
    fi
    case "$path:$word" in
${levels.flatMap(valueFlagPatterns).join("")}${levels.flatMap(commandPatterns).join("")}    esac
  done
  local words="" flags=""
  if [[ -n $skip ]]; then
    case "$skip" in
      --checkpoint-dir | --cwd) mapfile -t COMPREPLY < <(compgen -d -- "$current") ;;
      --id) mapfile -t COMPREPLY < <(compgen -W "$(_ctr_containers)" -- "$current") ;;
      --signal | -s) mapfile -t COMPREPLY < <(compgen -W "HUP INT QUIT KILL USR1 USR2 TERM STOP CONT" -- "$current") ;;
    esac
    return
  fi
  case "$path" in
${levels.map(wordsPattern).join("")}  esac
  if [[ $current == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$flags" -- "$current")
    return
  fi
  case "$path" in
${containerPatterns(levels)}    "containers start") mapfile -t COMPREPLY < <(compgen -d -- "$current") && return ;;
    "completion") words="bash zsh" ;;
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
_ctr() {
  local current="\${words[CURRENT]}" path_="" word skip="" index address=""
  local -a commands flags containers
  for ((index = 2; index < CURRENT; index++)); do
    word="\${words[index]}"
    if [[ -n $skip ]]; then
      [[ $skip == --address ]] && address="$word"
      skip=""
      continue
    fi
    case "$path_:$word" in
${levels.flatMap(valueFlagPatterns).join("")}${levels.flatMap(commandPatterns).join("").replaceAll(" path=", " path_=")}    esac
  done
  case "$skip" in
    --checkpoint-dir | --cwd) _files -/ && return ;;
    --signal | -s) compadd HUP INT QUIT KILL USR1 USR2 TERM STOP CONT && return ;;
    --id) ;;
    ?*) return ;;
  esac
  local takes_container="$skip"
  case "$path_" in
${levels.map(zshLevel).join("")}  esac
  if [[ -z $skip && $current == -* ]]; then
    compadd -- $flags
    return
  fi
  [[ -z $skip && $path_ == "containers start" ]] && _files -/
  [[ -z $skip && $path_ == "completion" ]] && compadd bash zsh
  if [[ -n $takes_container ]]; then
    containers=(\${(f)"$(ctr \${address:+--address} \${address:+$address} containers list 2>/dev/null | awk 'NR > 1 { print $1 }')"})
    compadd -a containers
  fi
  [[ -z $skip ]] && (( $#commands )) && _describe command commands
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
    takesContainer: command.registeredArguments[0]?.name() === "id" && command.name() !== "start",
  };
  return [level, ...command.commands.flatMap((sub) => levelsOf(sub, `${path} ${sub.name()}`.trim()))];
}

function valueFlagPatterns({ path, valueFlags }: Level): string[] {
  if (valueFlags.length === 0) return [];
  return [`      ${valueFlags.map((flag) => `"${path}:${flag}"`).join(" | ")}) skip="$word" ;;\n`];
}

function commandPatterns({ path, commands }: Level): string[] {
  return commands.map(({ name }) => `      "${path}:${name}") path="${`${path} ${name}`.trim()}" ;;\n`);
}

function wordsPattern({ path, commands, flags }: Level): string {
  return `    "${path}") words="${commands.map(({ name }) => name).join(" ")}" flags="${flags.join(" ")}" ;;\n`;
}

function containerPatterns(levels: readonly Level[]): string {
  const paths = levels.filter(({ takesContainer }) => takesContainer).map(({ path }) => `"${path}"`);
  return `    ${paths.join(" | ")}) words="$words $(_ctr_containers)" ;;\n`;
}

function zshLevel({ path, commands, flags, takesContainer }: Level): string {
  const described = commands.map(({ name, description }) => `'${name}:${description.replaceAll("'", "'\\''")}'`);
  const takes = takesContainer ? " takes_container=yes" : "";
  return `    "${path}") flags=(${flags.join(" ")}) commands=(${described.join(" ")})${takes} ;;\n`;
}

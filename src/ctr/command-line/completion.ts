import type { Command, Option } from "commander";

/** What can follow a command: its subcommands, its flags, and containers where it takes one. */
interface Level {
  /** "containers kill"; empty for ctr itself. */
  path: string;
  commands: readonly { name: string; description: string }[];
  flags: readonly string[];
  options: readonly Option[];
  /** Flags whose value is the next word. */
  valueFlags: readonly string[];
  /** Which of its arguments name a container, and which an image. */
  containers: Named;
  images: Named;
}

type Named = "none" | "first" | "all" | "rest";

/** For which shells there are scripts. */
export const SHELLS = ["bash", "fish", "zsh"] as const;

const SIGNALS = "HUP INT QUIT KILL USR1 USR2 TERM STOP CONT";
/** Paths of the caller's machine; --cwd is one of the container. */
const DIRECTORY_FLAGS = "--checkpoint-dir";
const FILE_FLAGS = "--tls-ca | --tls-cert | --tls-key";

/** A script for bash; needs nothing of the bash-completion package. */
export function bashCompletion(program: Command): string {
  const levels = levelsOf(program);
  const patterns = (variable: string) =>
    [...levels.flatMap(valueFlagPatterns), ...levels.flatMap((level) => commandPatterns(level, variable))].join("");
  return `# bash completion of ctr; made by "ctr completion bash"
# Ids come from the daemon and may hold anything: nothing expands them here, and they are offered quoted, so that the line that they
# complete does not run them either.
_ctr_names() {
  local id quoted
  while IFS= read -r id; do
    printf -v quoted %q "$id"
    if [[ $id == "$1"* || $quoted == "$1"* ]]; then COMPREPLY+=("$quoted"); fi
  done < <(ctr "\${_ctr_globals[@]}" "\${@:2}" 2>/dev/null)
}
_ctr_containers() { _ctr_names "$1" containers list --quiet; }
_ctr_images() {
  _ctr_names "$1" images ls --quiet
  # What is before the last colon stays where it is: bash takes it for a word of its own.
  [[ $1 == *:* && $COMP_WORDBREAKS == *:* ]] && COMPREPLY=("\${COMPREPLY[@]#"\${1%"\${1##*:}"}"}")
  return 0
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
${patterns("path")}      :-*=*) _ctr_globals+=("$word") ;;
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
      ${DIRECTORY_FLAGS}) _ctr_paths -d "$current" ;;
      ${FILE_FLAGS}) _ctr_paths -f "$current" ;;
      --id) _ctr_containers "$current" ;;
      --signal | -s) mapfile -t COMPREPLY < <(compgen -W "${SIGNALS}" -- "$current") ;;
    esac
    return
  fi
  local words="" flags=""
  case "$path" in
${levels.map(wordsPattern).join("")}  esac
  # What follows the command of an exec or the image of a run is a command's.
  [[ ($path == "containers exec" || $path == "exec" || $path == "run") && \${#operands[@]} -gt 0 ]] && return
  if [[ $current == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$flags" -- "$current")
    return
  fi
  [[ \${#operands[@]} -gt 0 ]] && words=""
  case "$path:\${#operands[@]}" in
    ${namePatterns(levels, "containers")}) _ctr_containers "$current" ;;
    ${namePatterns(levels, "images")}) _ctr_images "$current" ;;
    "containers start:1" | "images mount:1" | "images unmount:0") _ctr_paths -d "$current" && return ;;
    "images import:0" | "images export:0") _ctr_paths -f "$current" && return ;;
    "completion:0") words="${SHELLS.join(" ")}" ;;
  esac
  mapfile -t -O "\${#COMPREPLY[@]}" COMPREPLY < <(compgen -W "$words" -- "$current")
}
complete -F _ctr ctr
`;
}

/** A script for zsh: can be sourced, or put into a folder of $fpath as _ctr. */
export function zshCompletion(program: Command): string {
  const levels = levelsOf(program);
  const patterns = (variable: string) =>
    [...levels.flatMap(valueFlagPatterns), ...levels.flatMap((level) => commandPatterns(level, variable))].join("");
  return `#compdef ctr
# zsh completion of ctr; made by "ctr completion zsh"
_ctr_containers() {
  local -a containers
  containers=(\${(f)"$(ctr $globals containers list --quiet 2>/dev/null)"})
  compadd -a -- containers
}
_ctr_images() {
  local -a images
  images=(\${(f)"$(ctr $globals images ls --quiet 2>/dev/null)"})
  compadd -a -- images
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
${patterns("path_")}      :-*=*) globals+=("$word") ;;
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
      ${DIRECTORY_FLAGS}) _files -/ ;;
      ${FILE_FLAGS}) _files ;;
      --id) _ctr_containers ;;
      --signal | -s) compadd ${SIGNALS} ;;
    esac
    return
  fi
  case "$path_" in
${levels.map(zshLevel).join("")}  esac
  # What follows the command of an exec or the image of a run is a command's.
  [[ ($path_ == "containers exec" || $path_ == "exec" || $path_ == "run") && $#operands -gt 0 ]] && return
  if [[ "\${words[CURRENT]}" == -* ]]; then
    compadd -- $flags
    return
  fi
  case "$path_:$#operands" in
    ${namePatterns(levels, "containers")}) _ctr_containers ;;
    ${namePatterns(levels, "images")}) _ctr_images ;;
    "containers start:1" | "images mount:1" | "images unmount:0") _files -/ ;;
    "images import:0" | "images export:0") _files ;;
    "completion:0") compadd ${SHELLS.join(" ")} ;;
  esac
  (( $#subcommands && ! $#operands )) && _describe command subcommands
}
if [[ \${funcstack[1]} == _ctr ]]; then _ctr "$@"; else compdef _ctr ctr; fi
`;
}

/** A script for fish: for a folder of $fish_complete_path as ctr.fish, or to be sourced. */
export function fishCompletion(program: Command): string {
  const levels = levelsOf(program);
  const lines = levels.flatMap((level) => [
    ...level.commands.map(({ name, description }) => fishLine(level, 0, ["-a", name, "-d", description])),
    ...level.options.map((option) => fishLine(level, undefined, fishOption(option))),
    ...fishNames(level, level.containers, CONTAINERS_OF_FISH),
    ...fishNames(level, level.images, IMAGES_OF_FISH),
  ]);
  return `# fish completion of ctr; made by "ctr completion fish"
# The words of the line so far: sets $path to the command, $globals to the flags before it, $operands to its arguments.
function __ctr_line --no-scope-shadowing
    set path ""
    set globals
    set operands
    set -l flag ""
    for word in (commandline -opc)[2..-1]
        if test -n "$flag"
            test -z "$path"; and set -a globals $flag $word
            set flag ""
            continue
        end
        string match -qr -- '^-[^-].' $word; and set word -$word
        switch "$path:$word"
${levels.flatMap(fishValueFlags).join("")}${levels.flatMap(fishCommands).join("")}            case ':-*=*'
                set -a globals $word
            case '*:-*'
            case '*'
                set -a operands $word
        end
    end
end
# Whether the line is at this command, with at most this number of arguments so far.
function __ctr_at
    set -l path
    set -l globals
    set -l operands
    __ctr_line
    # What follows the command of an exec or the image of a run is a command's.
    contains -- "$path" "containers exec" exec run; and test (count $operands) -gt 0; and return 1
    test "$path" = "$argv[1]"; and test (count $operands) -le "$argv[2]"
end
# Nothing expands the ids: fish takes each line of a command's output as it is, and quotes it when it completes it.
function __ctr_containers
    set -l path
    set -l globals
    set -l operands
    __ctr_line
    ctr $globals containers list --quiet 2>/dev/null
end
function __ctr_images
    set -l path
    set -l globals
    set -l operands
    __ctr_line
    ctr $globals images ls --quiet 2>/dev/null
end
complete -c ctr -f
${lines.join("\n")}
${fishLine({ path: "containers start" }, 1, ["-a", "(__fish_complete_directories)"])}
${fishLine({ path: "images mount" }, 1, ["-a", "(__fish_complete_directories)"])}
${fishLine({ path: "images unmount" }, 0, ["-a", "(__fish_complete_directories)"])}
${fishLine({ path: "images import" }, 0, ["-F"])}
${fishLine({ path: "images export" }, 0, ["-F"])}
${fishLine({ path: "completion" }, 0, ["-a", SHELLS.join(" ")])}
`;
}

const CONTAINERS_OF_FISH = ["-a", "(__ctr_containers)"];
const IMAGES_OF_FISH = ["-a", "(__ctr_images)"];

function fishNames(level: Level, named: Named, words: readonly string[]): string[] {
  return named === "none" ? [] : [fishLine(level, named === "first" ? 0 : undefined, words)];
}

/** @param most how many arguments there may be before this one; undefined: any number */
function fishLine({ path }: { path: string }, most: number | undefined, words: readonly string[]): string {
  const condition = `__ctr_at ${fishQuote(path)} ${most ?? 999}`;
  return [
    "complete -c ctr -n",
    fishQuote(condition),
    ...words.map((word) => (word.startsWith("-") ? word : fishQuote(word))),
  ].join(" ");
}

function fishOption({ long, short, required, description }: Option): string[] {
  const words = ["-l", long!.slice(2), ...(short ? ["-s", short.slice(1)] : []), "-d", description];
  if (!required) return words;
  if (long === "--id") return [...words, "-x", ...CONTAINERS_OF_FISH];
  if (long === "--signal") return [...words, "-x", "-a", SIGNALS];
  if (long === DIRECTORY_FLAGS) return [...words, "-x", "-a", "(__fish_complete_directories)"];
  return [...words, FILE_FLAGS.includes(long!) ? "-rF" : "-x"];
}

function fishQuote(text: string): string {
  return `'${text.replace(/[\\']/g, "\\$&")}'`;
}

function fishValueFlags({ path, valueFlags }: Level): string[] {
  if (valueFlags.length === 0) return [];
  return [
    `            case ${valueFlags.map((flag) => `'${path}:${flag}'`).join(" ")}\n                set flag $word\n`,
  ];
}

function fishCommands({ path, commands }: Level): string[] {
  return commands.map(
    ({ name }) => `            case '${path}:${name}'\n                set path '${`${path} ${name}`.trim()}'\n`,
  );
}

function levelsOf(command: Command, path = ""): Level[] {
  const options = command.options;
  const names = (option: (typeof options)[number]) => [option.long, option.short].filter((name) => name !== undefined);
  const level: Level = {
    path,
    commands: command.commands.map((sub) => ({ name: sub.name(), description: sub.description() })),
    options,
    flags: [...options.flatMap((option) => option.long ?? []), "--help"],
    valueFlags: options.filter((option) => option.required).flatMap(names),
    containers: argumentsNamed(command, "id"),
    images: argumentsNamed(command, "image"),
  };
  return [level, ...command.commands.flatMap((sub) => levelsOf(sub, `${path} ${sub.name()}`.trim()))];
}

/** Of a start the id is a new one. */
function argumentsNamed(command: Command, name: "id" | "image"): Named {
  const [first, second] = command.registeredArguments;
  if (first?.name() === name && command.name() !== "start") return first.variadic ? "all" : "first";
  return second?.name() === name && second.variadic ? "rest" : "none";
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
function namePatterns(levels: readonly Level[], kind: "containers" | "images"): string {
  return levels
    .flatMap(({ path, [kind]: named }) => {
      if (named === "none") return [];
      return { all: `"${path}:"*`, first: `"${path}:0"`, rest: `"${path}:"[1-9]*` }[named];
    })
    .join(" | ");
}

function zshLevel({ path, commands, flags }: Level): string {
  const described = commands.map(({ name, description }) => `'${name}:${description.replaceAll("'", "'\\''")}'`);
  return `    "${path}") flags=(${flags.join(" ")}) subcommands=(${described.join(" ")}) ;;\n`;
}

# shellcheck shell=bash
# How the tools talk: headings, facts, and one way to fail. Sourced, never run.

if [ -t 1 ]; then
    lk_bold=$'\033[1m' lk_green=$'\033[32m' lk_red=$'\033[31m' lk_dim=$'\033[2m' lk_plain=$'\033[0m'
else
    lk_bold='' lk_green='' lk_red='' lk_dim='' lk_plain=''
fi

lk_head() { printf '\n%s%s%s\n' "$lk_bold" "$*" "$lk_plain"; }
lk_say() { printf '  %s\n' "$*"; }
lk_ok() { printf '  %s✓%s %s\n' "$lk_green" "$lk_plain" "$*"; }
lk_bad() { printf '  %s✗%s %s\n' "$lk_red" "$lk_plain" "$*"; }

# lk_die MESSAGE...: to stderr, and out with 1.
lk_die() {
    printf '%s%s:%s %s\n' "$lk_red" "${lk_program:-latchkey}" "$lk_plain" "$*" >&2
    exit 1
}

# lk_usage MESSAGE...: the caller asked for something that does not exist; out with 2.
lk_usage() {
    printf '%s: %s\n%s\n' "${lk_program:-latchkey}" "$*" "${lk_help:-}" >&2
    exit 2
}

# lk_indent: what a program printed, set off from what we say about it.
lk_indent() { sed "s/^/    ${lk_dim}│${lk_plain} /"; }

# lk_quietly LOG COMMAND...: run it with its output in LOG; on failure show the end of LOG.
lk_quietly() {
    local log=$1
    shift
    if ! "$@" >"$log" 2>&1; then
        tail -n 30 "$log" | lk_indent >&2
        return 1
    fi
}

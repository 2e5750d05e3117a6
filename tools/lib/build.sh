# shellcheck shell=bash
# Configure and build one preset. Sourced after say.sh.

# lk_build ROOT PRESET [CMAKE-OPTION...]: into ROOT/build/PRESET, with progress on one line.
lk_build() {
    local root=$1 preset=$2 log status=0
    shift 2
    log=$(mktemp)
    (cd "$root" && cmake --preset "$preset" "$@") >"$log" 2>&1 || status=$?
    grep -E '^--( |$)+(on|off|Latchkey)' "$log" | sed 's/^-- *//' | lk_indent
    if [ $status -ne 0 ]; then
        tail -n 30 "$log" | lk_indent >&2
        rm -f "$log"
        lk_die "cmake --preset $preset failed (see above)"
    fi
    lk_ninja "$root/build/$preset" "$log" || status=$?
    [ $status -eq 0 ] || grep -vE '^\[[0-9]+/[0-9]+\]' "$log" | tail -n 40 | lk_indent >&2
    rm -f "$log"
    [ $status -eq 0 ] || lk_die "the build of $preset failed (see above)"
    lk_ok "built: build/$preset"
}

# lk_ninja DIR LOG: on a terminal one line that counts, elsewhere a line for every tenth part.
lk_ninja() {
    local shown=-1 line done_ all tenth
    NINJA_STATUS='[%f/%t] ' cmake --build "$1" --parallel "$(nproc)" 2>&1 | tee "$2" |
        while IFS= read -r line; do
            [[ $line =~ ^\[([0-9]+)/([0-9]+)\] ]] || continue
            done_=${BASH_REMATCH[1]} all=${BASH_REMATCH[2]}
            tenth=$((done_ * 10 / all))
            if [ -t 1 ]; then
                printf '\r  compiling %s of %s ' "$done_" "$all"
            elif [ $tenth -ne $shown ]; then
                shown=$tenth
                printf '  compiling %s of %s\n' "$done_" "$all"
            fi
        done
    local status=${PIPESTATUS[0]}
    [ ! -t 1 ] || printf '\r\033[K'
    return "$status"
}

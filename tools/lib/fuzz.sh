# shellcheck shell=bash
# Build the fuzz targets and run them for a while. Sourced after say.sh; $root is the tree.
# shellcheck disable=SC2154

# lk_fuzz_length TARGET: bytes of the longest input that is worth trying.
lk_fuzz_length() {
    case $1 in
    token | cwt | jwt | cose | message) echo 8192 ;;
    topic) echo 512 ;;
    grant) echo 2048 ;;
    *) echo 4096 ;;
    esac
}

# lk_fuzz_one DIR TARGET SECONDS: the log is DIR/logs/TARGET, what was learnt DIR/corpus/TARGET.
lk_fuzz_one() {
    local dir=$1 target=$2 seconds=$3 tests=$root/tests/fuzz seeds=() options=()
    [ ! -d "$tests/corpus/$target" ] || seeds+=("$tests/corpus/$target")
    [ ! -f "$tests/dictionaries/$target.dict" ] ||
        options+=("-dict=$tests/dictionaries/$target.dict")
    mkdir -p "$dir/corpus/$target"
    "$root/build/fuzz/tests/fuzz/${target}_fuzz" -max_total_time="$seconds" \
        -max_len="$(lk_fuzz_length "$target")" -timeout=10 -rss_limit_mb=2048 \
        -malloc_limit_mb=256 -print_final_stats=1 -artifact_prefix="$dir/findings/$target-" \
        "${options[@]}" "$dir/corpus/$target" "${seeds[@]}" >"$dir/logs/$target" 2>&1
}

# lk_fuzz_tell DIR TARGET STATUS: one line, and the end of the log of a finding.
lk_fuzz_tell() {
    local log=$1/logs/$2 runs line
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    line=$(grep -oE 'cov: [0-9]+ ft: [0-9]+ corp: [0-9]+' "$log" | tail -n 1)
    line="$(printf '%-14s %11s runs, %s' "$2" "${runs:-?}" "$line")"
    if [ "$3" = 0 ]; then
        lk_ok "$line"
    else
        lk_bad "$line"
        grep -aE 'broken:|ERROR:|SUMMARY:|runtime error|Test unit written' "$log" | lk_indent
    fi
}

# lk_fuzz MINUTES TARGET...: as many at once as there are processors. Fails if one finds something.
lk_fuzz() {
    local seconds=$(($1 * 60)) dir=$root/build/fuzz/soak found=0 target pid at
    local -A running=()
    shift
    mkdir -p "$dir/corpus" "$dir/findings" "$dir/logs"
    for target in "$@" ''; do
        while [ ${#running[@]} -gt 0 ] &&
            { [ -z "$target" ] || [ ${#running[@]} -ge "$(nproc)" ]; }; do
            at=0
            wait -n -p pid || at=$?
            lk_fuzz_tell "$dir" "${running[$pid]}" $at
            unset "running[$pid]"
            [ $at -eq 0 ] || found=$((found + 1))
        done
        [ -n "$target" ] || break
        lk_fuzz_one "$dir" "$target" "$seconds" &
        running[$!]=$target
    done
    [ $found -eq 0 ] || lk_die "$found targets found something: $dir/findings"
}

# lk_fuzz_build: every target, with clang and sanitizers.
lk_fuzz_build() {
    local log
    log=$(mktemp)
    (cd "$root" && lk_quietly "$log" cmake --preset fuzz &&
        lk_quietly "$log" cmake --build --preset fuzz --target fuzz_targets) ||
        { rm -f "$log" && lk_die 'the fuzz targets could not be built (see above)'; }
    rm -f "$log"
}

# lk_fuzz_names: what was built.
lk_fuzz_names() {
    local file
    for file in "$root"/build/fuzz/tests/fuzz/*_fuzz; do
        file=${file##*/}
        echo "${file%_fuzz}"
    done
}

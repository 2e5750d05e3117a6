# shellcheck shell=bash
# One line of an INI file. Sourced, never run.

# ini_set FILE SECTION KEY VALUE: replace the line, or add it at the end of its section.
ini_set() {
    local new
    new=$(mktemp "$1.XXXXXX")
    SECTION=$2 KEY=$3 VALUE=$4 awk '
        function put() { if (!done) print ENVIRON["KEY"] " = " ENVIRON["VALUE"]; done = 1 }
        /^[ \t]*\[/ {
            if (here) put()
            here = index($0, "[" ENVIRON["SECTION"] "]") > 0
        }
        here && match($0, /^[ \t]*[A-Za-z0-9_]+[ \t]*=/) {
            name = substr($0, RSTART, RLENGTH - 1)
            gsub(/[ \t]/, "", name)
            if (name == ENVIRON["KEY"]) { put(); next }
        }
        { print }
        END { if (!done && !here) print "\n[" ENVIRON["SECTION"] "]"; put() }
    ' "$1" >"$new"
    cat "$new" >"$1"
    rm -f "$new"
}

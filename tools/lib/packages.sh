# shellcheck shell=bash
# The Debian packages that building, running and testing need, and how they get onto the machine.
# Sourced after say.sh. The names are the same in Debian 12 and 13.

lk_packages_build='gcc libc6-dev cmake ninja-build pkgconf libssl-dev libevent-dev libsqlite3-dev
    libjansson-dev libinih-dev libmosquitto-dev mosquitto-dev libcurl4-openssl-dev libmbedtls-dev
    libcmocka-dev'
lk_packages_run='mosquitto mosquitto-clients curl ca-certificates util-linux'
lk_packages_test='python3 python3-pytest python3-paho-mqtt python3-cbor2 python3-cryptography
    python3-jwt python3-requests python3-authlib procps'
lk_packages_lint='clang-tidy cppcheck'

lk_package_is_installed() {
    [ "$(dpkg-query -W -f '${db:Status-Abbrev}' "$1" 2>/dev/null | cut -c1-2)" = ii ]
}

lk_as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -- "$@"; fi
}

# Installing the broker's package would start a broker for the whole system, which nobody asked for.
# invoke-rc.d asks this file first; it is ours, it names only mosquitto, and it goes right after.
lk_policy=/usr/sbin/policy-rc.d

lk_hold_back_service() {
    [ ! -e "$lk_policy" ] || return 0
    printf '%s\n' '#!/bin/sh' '# Put here by Latchkey while apt installs mosquitto.' \
        '[ "$1" = mosquitto ] && exit 101' 'exit 0' | lk_as_root tee "$lk_policy" >/dev/null
    lk_as_root chmod 0755 "$lk_policy"
    lk_policy_is_ours=yes
}

lk_let_go_service() {
    [ "${lk_policy_is_ours:-}" = yes ] || return 0
    lk_as_root rm -f "$lk_policy"
    lk_policy_is_ours=
}

# A broker that came with our installation stays off, now and at the next boot.
lk_switch_off_new_service() {
    if [ -d /run/systemd/system ] && command -v systemctl >/dev/null; then
        lk_as_root systemctl disable --now mosquitto.service >/dev/null 2>&1 || true
    fi
}

# lk_packages_install PACKAGE...: whatever of these is missing, with apt. Asks for nothing by hand.
lk_packages_install() {
    local missing='' package new_broker='' log status=0
    for package in "$@"; do
        lk_package_is_installed "$package" || missing="$missing $package"
    done
    if [ -z "$missing" ]; then
        lk_ok 'every package is there'
        return 0
    fi
    command -v apt-get >/dev/null || lk_die "please install:$missing (no apt-get here)"
    [ "$(id -u)" = 0 ] || command -v sudo >/dev/null ||
        lk_die "please install, as root: apt-get install$missing"
    lk_say "installing with apt:$missing"
    case " $missing " in *' mosquitto '*) new_broker=yes ;; esac

    log=$(mktemp)
    if [ -n "$new_broker" ]; then
        trap lk_let_go_service EXIT
        lk_hold_back_service
    fi
    # shellcheck disable=SC2086
    { lk_apt "$log" update && lk_apt "$log" install -y --no-install-recommends $missing; } ||
        status=$?
    if [ -n "$new_broker" ]; then
        lk_let_go_service
        trap - EXIT
        [ $status -ne 0 ] || lk_switch_off_new_service
    fi
    [ $status -eq 0 ] || tail -n 20 "$log" | lk_indent >&2
    rm -f "$log"
    [ $status -eq 0 ] || lk_die 'apt could not install what is missing (see above)'
    lk_ok 'installed'
}

# lk_apt LOG ARGUMENT...: apt-get without questions; a dot for every package that is set up.
lk_apt() {
    local log=$1
    shift
    printf '  apt-get %s ' "$1"
    lk_as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o Dpkg::Use-Pty=0 "$@" \
        </dev/null 2>&1 | tee -a "$log" | while read -r line; do
        case $line in Get:* | Hit:* | 'Setting up'*) printf . ;; esac
    done
    local status=${PIPESTATUS[0]}
    printf '\n'
    return "$status"
}

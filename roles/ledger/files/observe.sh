# Reads `kind|name` lines on stdin and prints `kind|name|state` lines, as found now, in the same order. Read-only.
# One look for two readers: a role that ends writes this into its record, the probe re-reads it to find drift. POSIX sh
# and awk, a handful of processes however many lines there are, because the probe runs it on every host of every plan.
#
# file     <sha256> <octal mode> <uid>:<gid> | link -> TARGET | dir <octal mode> <uid>:<gid> | absent
# path     present | absent                  (for files and folders whose content changes by right, such as certificates)
# unit     <enabled-state> <active-state>    (not-found inactive: no such unit)
# sysctl   value, blanks squeezed | absent
# package  <version> <hold|-> | absent       (Debian packages)
# mount    <source> <fstype> | absent
# link     present | absent                  (network interfaces)
# chain    present | absent                  (nftables: FAMILY TABLE CHAIN)
# image    sha256:<manifest> | incomplete | absent   (in this host's registry, with all its blobs)
# others   unknown
set -f
LC_ALL=C
PATH=$PATH:/usr/sbin:/sbin
export LC_ALL PATH
asked=$(cat)
newline='
'
IFS=$newline

names_of() { printf '%s\n' "$asked" | sed -n "s/^$1|//p"; }

files() {
    # shellcheck disable=SC2046
    set -- $(names_of file)
    [ $# -gt 0 ] || return 0
    stat -c 'stat|%n|%F|%a %u:%g' -- "$@" 2>/dev/null
    for name in "$@"; do
        if [ -L "$name" ]; then
            printf 'link|%s|%s\n' "$name" "$(readlink -- "$name")"
        elif [ -f "$name" ]; then
            regular="$regular$newline$name"
        fi
    done
    # shellcheck disable=SC2086
    set -- $regular
    [ $# -eq 0 ] || sha256sum -- "$@" 2>/dev/null | sed 's/^\\\{0,1\}\([0-9a-f]*\) [ *]\(.*\)$/sum|\2|\1/'
}

units() {
    # shellcheck disable=SC2046
    set -- $(names_of unit)
    [ $# -gt 0 ] && command -v systemctl >/dev/null 2>&1 || return 0
    # Blocks come in the order asked for, apart by an empty line; aliases answer with another Id, so we count.
    systemctl show -p LoadState -p UnitFileState -p ActiveState -- "$@" 2>/dev/null | awk -v names="$*" '
        function flush() {
            if (!(load == "" && active == "")) {
                if (load == "not-found") enabled = "not-found"
                print "unit|" name[++n] "|" (enabled == "" ? "static" : enabled) " " active
            }
            load = enabled = active = ""
        }
        BEGIN { count = split(names, name, "\n") }
        /^LoadState=/ { load = substr($0, 11) }
        /^UnitFileState=/ { enabled = substr($0, 15) }
        /^ActiveState=/ { active = substr($0, 13) }
        /^$/ { flush() }
        END { flush() }'
}

sysctls() {
    for name in $(names_of sysctl); do
        path=/proc/sys/$(printf '%s' "$name" | tr . /)
        if [ -r "$path" ]; then printf 'sysctl|%s|%s\n' "$name" "$(tr -s ' \t' '  ' <"$path")"; fi
    done
}

packages() {
    # shellcheck disable=SC2046
    set -- $(names_of package)
    [ $# -gt 0 ] && command -v dpkg-query >/dev/null 2>&1 || return 0
    # shellcheck disable=SC2016
    dpkg-query -W -f '${Package}|${db:Status-Status}|${Version}|${db:Status-Want}\n' -- "$@" 2>/dev/null |
        awk -F '|' '$2 == "installed" { print "package|" $1 "|" $3 " " ($4 == "hold" ? "hold" : "-") }'
}

mounts() {
    [ -z "$(names_of mount)" ] || awk '{ print "mount|" $2 "|" $1 " " $3 }' /proc/self/mounts
}

images() {
    # shellcheck disable=SC2046
    set -- $(names_of image)
    [ $# -gt 0 ] || return 0
    root=$(sed -n 's/^ *rootdirectory: *//p' "${REGISTRY_CONFIG:-/etc/docker/registry/config.yml}" 2>/dev/null)
    root=${root:-/var/lib/docker-registry}/docker/registry/v2
    for name in "$@"; do
        repository=$root/repositories/${name%:*}
        digest=
        read -r digest 2>/dev/null <"$repository/_manifests/tags/${name##*:}/current/link"
        manifest=$(blob "${digest#*:}")
        state=$digest
        [ -n "$digest" ] || continue
        [ -s "$manifest" ] && [ -e "$repository/_manifests/revisions/sha256/${digest#*:}/link" ] || state=incomplete
        for part in $(grep -o 'sha256:[0-9a-f]\{64\}' "$manifest" 2>/dev/null); do
            part=${part#*:}
            [ -s "$(blob "$part")" ] && [ -e "$repository/_layers/sha256/$part/link" ] || state=incomplete
        done
        printf 'image|%s|%s\n' "$name" "$state"
    done
}

chains() {
    [ -n "$(names_of chain)" ] && command -v nft >/dev/null || return 0
    nft list chains 2>/dev/null | awk '$1 == "table" { table = $2 " " $3 } $1 == "chain" { print "chain|" table " " $2 "|present" }'
}

blob() { printf '%s' "$root/blobs/sha256/${1%"${1#??}"}/$1/data"; }

{
    files
    units
    sysctls
    packages
    mounts
    images
    chains
    for name in $(names_of path); do
        if [ -e "$name" ] || [ -L "$name" ]; then printf 'path|%s|present\n' "$name"; fi
    done
    for name in $(names_of link); do
        if [ -e "/sys/class/net/$name" ]; then printf 'link|%s|present\n' "$name"; fi
    done
    printf '%s\n' "$asked" | sed '/^$/d; s/^/ask|/'
} | awk '
    { kind = $0; sub(/\|.*/, "", kind); rest = substr($0, length(kind) + 2) }
    # The state is what follows the last bar: no state has one, but a name may.
    { bar = match(rest, /\|[^|]*$/); name = substr(rest, 1, bar - 1); state = substr(rest, bar + 1) }
    kind == "stat" {
        type = match(name, /\|[^|]*$/)
        what[substr(name, 1, type - 1)] = substr(name, type + 1)
        mode[substr(name, 1, type - 1)] = state
        next
    }
    kind == "link" || kind == "sum" { known[kind "|" name] = state; next }
    kind != "ask" { known[kind "|" name] = state; next }
    {
        kind = rest; sub(/\|.*/, "", kind); name = substr(rest, length(kind) + 2)
        if (kind == "file") {
            if (!(name in what)) state = "absent"
            else if (what[name] == "symbolic link") state = "link -> " known["link|" name]
            else if (what[name] == "directory") state = "dir " mode[name]
            else if (("sum|" name) in known) state = known["sum|" name] " " mode[name]
            else state = what[name] " " mode[name]
        } else if ((kind "|" name) in known) state = known[kind "|" name]
        else if (kind == "unit") state = "not-found inactive"
        else if (kind ~ /^(path|sysctl|package|mount|link|image|chain)$/) state = "absent"
        else state = "unknown"
        print kind "|" name "|" state
    }'

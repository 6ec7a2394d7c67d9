# Put the command where people and scripts look for it; prints one line for each change and nothing when all is as it
# should be. Run by the role with ARCHIVE, FOLDER, COMMAND, CHARTS, COMPLETION. POSIX sh, GNU tar.
set -eu
umask 022
charts=$FOLDER/lib/arena_install/data/charts

link() { # target link
    [ "$(readlink "$2" || true)" = "$1" ] && return
    ln -sfn "$1" "$2"
    echo "linked $2"
}

# Whole or not at all: a command that somebody runs meanwhile is the old one or the new one. Compiled modules are made
# here, because only root can write them; they say by content what they were made of, so that a time can't deceive them.
if ! tar --compare --file "$ARCHIVE" --directory "$FOLDER" >/dev/null 2>&1; then
    rm -rf "$FOLDER.new" "$FOLDER.old"
    mkdir -p "$FOLDER.new"
    tar --extract --file "$ARCHIVE" --directory "$FOLDER.new" --no-same-owner --preserve-permissions
    python3 -m compileall -q --invalidation-mode unchecked-hash "$FOLDER.new/lib" >/dev/null
    [ ! -e "$FOLDER" ] || mv "$FOLDER" "$FOLDER.old"
    mv "$FOLDER.new" "$FOLDER"
    rm -rf "$FOLDER.old"
    echo "installed $FOLDER"
fi
link "$FOLDER/bin/arena" "$COMMAND"

# A site's own charts, or those of upstream's arena, stay; `arena` passes over the latter.
if [ -L "$CHARTS" ] || [ ! -e "$CHARTS" ]; then
    link "$charts" "$CHARTS"
fi

mkdir -p "${COMPLETION%/*}"
completion=$("$FOLDER/bin/arena" completion bash)
if [ "$(cat "$COMPLETION" 2>/dev/null || true)" != "$completion" ]; then
    printf '%s\n' "$completion" >"$COMPLETION.new"
    mv -f "$COMPLETION.new" "$COMPLETION"
    echo "wrote $COMPLETION"
fi

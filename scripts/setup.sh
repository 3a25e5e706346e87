# shellcheck shell=bash
# What both commands of the README need. To be sourced by a bash script; afterwards `set_up EXTRA` has made .venv with tinyc in it, and the
# cross compiler, the emulator and a C compiler are on PATH. Everything that is there already is left as it is.

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
PYTHON="${PYTHON:-python3}"
ENVIRONMENT="$ROOT/.venv"

fail() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# Names of the Debian packages whose content is not there, one a line.
missing_packages() {
    command -v arm-none-eabi-gcc >/dev/null || echo gcc-arm-none-eabi
    local libc=""
    if command -v arm-none-eabi-gcc >/dev/null; then
        libc="$(arm-none-eabi-gcc -print-file-name=libc.a)"
    fi
    [ -f "$libc" ] || echo libnewlib-arm-none-eabi
    command -v qemu-system-arm >/dev/null || echo qemu-system-arm
    command -v gcc >/dev/null || echo gcc
    if ! command -v gcc >/dev/null || ! echo '#include <stdio.h>' | gcc -E - >/dev/null 2>&1; then
        echo libc6-dev
    fi
    command -v "$PYTHON" >/dev/null || echo python3
    if [ ! -x "$ENVIRONMENT/bin/pip" ] && ! "$PYTHON" -c 'import ensurepip, venv' >/dev/null 2>&1; then
        echo python3-venv
    fi
}

install_packages() {
    local packages prefix=()
    mapfile -t packages < <(missing_packages)
    [ "${#packages[@]}" -eq 0 ] && return
    command -v apt-get >/dev/null || fail "these Debian packages (or what they are called here) are missing, and there is no apt-get to install them: ${packages[*]}"
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || fail "run this as root, or install: apt-get install ${packages[*]}"
        prefix=(sudo)
    fi
    echo "installing: ${packages[*]}"
    "${prefix[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq
    "${prefix[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
    mapfile -t packages < <(missing_packages)
    [ "${#packages[@]}" -eq 0 ] || fail "still missing after apt-get install: ${packages[*]}"
}

# A stamp says for which place, dependencies and extra the environment was filled, so that a second start needs neither time nor network.
install_tinyc() {
    local extra="$1" wanted
    wanted="$ROOT $(cksum <"$ROOT/pyproject.toml")"
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || fail "tinyc needs Python 3.10 or newer, $PYTHON is $("$PYTHON" --version)"
    if [ "$(cat "$ENVIRONMENT/tinyc-$extra" 2>/dev/null)" = "$wanted" ] && "$ENVIRONMENT/bin/python" -c 'import tinyc' 2>/dev/null; then
        return
    fi
    echo "installing tinyc[$extra] into $ENVIRONMENT"
    "$ENVIRONMENT/bin/python" -m pip --version >/dev/null 2>&1 || "$PYTHON" -m venv --clear "$ENVIRONMENT"
    local install=("$ENVIRONMENT/bin/python" -m pip install --quiet --disable-pip-version-check)
    "${install[@]}" 'pip>=21.3'
    "${install[@]}" --editable "$ROOT[$extra]"
    echo "$wanted" >"$ENVIRONMENT/tinyc-$extra"
}

set_up() {
    install_packages
    install_tinyc "$1"
}

#!/bin/sh
# Makes sure that the system has what pip cannot install: the libraries that Qt and OpenGL load, and a virtual display.
#
#   system-libs.sh [--dry-run] qt             what napari needs to open a window, and the tests to open one without a screen
#   system-libs.sh [--dry-run] venv PYTHON    the venv module of that Python, which Debian packages apart
#
# Exits 0 when nothing is missing, when it installed what was, or when it cannot tell on this system (then it says what is
# needed); 1 when something is missing and it may not install it. NAPARI_MEDSAM2_SYSTEM_LIBS=skip leaves the system alone.
set -eu

dry_run=no
if [ "${1:-}" = --dry-run ]; then
    dry_run=yes
    shift
fi
what=${1:-qt}

if [ "${NAPARI_MEDSAM2_SYSTEM_LIBS:-}" = skip ]; then
    exit 0
fi

# One line for each library: its name to the loader, and the Debian or Ubuntu package that has it.
qt_libraries() {
    cat <<'END'
libEGL.so.1 libegl1
libGL.so.1 libgl1
libGLX_mesa.so.0 libglx-mesa0
libX11-xcb.so.1 libx11-xcb1
libdbus-1.so.3 libdbus-1-3
libfontconfig.so.1 libfontconfig1
libglib-2.0.so.0 libglib2.0-0
libxcb-cursor.so.0 libxcb-cursor0
libxcb-icccm.so.4 libxcb-icccm4
libxcb-image.so.0 libxcb-image0
libxcb-keysyms.so.1 libxcb-keysyms1
libxcb-randr.so.0 libxcb-randr0
libxcb-render-util.so.0 libxcb-render-util0
libxcb-shape.so.0 libxcb-shape0
libxcb-xkb.so.1 libxcb-xkb1
libxkbcommon-x11.so.0 libxkbcommon-x11-0
END
}

missing_for_qt() {
    known=$(PATH="$PATH:/sbin:/usr/sbin" ldconfig -p 2>/dev/null || true)
    qt_libraries | while read -r library package; do
        case $known in
            *"$library "*) ;;
            *) printf '%s ' "$package" ;;
        esac
    done
    # Tests and screenshots open real windows: on a screen, or else on a virtual one.
    if [ -z "${DISPLAY:-}" ]; then
        command -v Xvfb >/dev/null 2>&1 || printf 'xvfb '
        command -v xauth >/dev/null 2>&1 || printf 'xauth '
    fi
}

case $(uname -s) in
    Linux) ;;
    *) exit 0 ;; # Qt's wheels for macOS and Windows bring all they need
esac

case $what in
    qt) missing=$(missing_for_qt) ;;
    venv) missing=$("${2:-python3}" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])') ;;
    *)
        echo "system-libs.sh: unknown argument '$what': expected qt or venv" >&2
        exit 2
        ;;
esac
missing=${missing% }

if [ -z "$missing" ]; then
    exit 0
fi

if ! command -v apt-get >/dev/null 2>&1; then
    echo "Missing on this system, under Debian's names: $missing" >&2
    echo "Install your distribution's packages of them if napari does not start. Going on without." >&2
    exit 0
fi

install="apt-get update && apt-get install -y --no-install-recommends $missing"
if [ "$(id -u)" = 0 ]; then
    as_root=
elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
    as_root='sudo -n'
else
    echo "Some system packages are missing. Install them, then start again:" >&2
    echo "  sudo sh -c '$install'" >&2
    exit 1
fi

if [ "$dry_run" = yes ]; then
    echo "would run: ${as_root:+$as_root }sh -c '$install'"
    exit 0
fi
echo "Installing system packages: $missing"
# No terminal may be there to answer a question.
$as_root env DEBIAN_FRONTEND=noninteractive sh -c "$install" </dev/null

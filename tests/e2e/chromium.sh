#!/bin/sh
# Finds Chromium for the browser tests, or installs Debian's where that is permitted, or says what to install.
set -eu
if [ -x "${CHROMIUM:-/usr/bin/chromium}" ]; then
    exit 0
fi
if command -v apt-get >/dev/null 2>&1; then
    if [ "$(id -u)" = 0 ]; then
        as_root=""
    elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
        as_root="sudo -n"
    else
        as_root="none"
    fi
    if [ "$as_root" != none ]; then
        echo "Installing Chromium for the browser tests ..."
        # shellcheck disable=SC2086
        $as_root apt-get update -qq && DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq \
            --no-install-recommends chromium fonts-dejavu-core >/dev/null && [ -x /usr/bin/chromium ] && exit 0
    fi
fi
cat >&2 <<'MESSAGE'
The browser tests need Chromium at /usr/bin/chromium, or where the variable CHROMIUM says:
  Debian:  sudo apt-get install chromium fonts-dejavu-core
  others:  install Chromium or Chrome, then  make test CHROMIUM=/path/to/it
MESSAGE
exit 1

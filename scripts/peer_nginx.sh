#!/bin/sh
# Links an nginx as .cache/peer-nginx/nginx: the machine's own, or Debian's, downloaded and unpacked aside without being installed or started.
set -eu
cd "$(dirname "$0")/.."
folder=$PWD/.cache/peer-nginx
mkdir -p "$folder"
program=$(PATH=$PATH:/usr/sbin command -v nginx || true)
if [ -z "$program" ]; then
    program=usr/sbin/nginx # relative: the folder may be moved
    for package in nginx nginx-core nginx-light; do
        [ -x "$folder/$program" ] || (cd "$folder" && apt-get download -q "$package" && for one in *.deb; do dpkg -x "$one" . && rm "$one"; done) >>"$folder/log" 2>&1 || true
    done
fi
ln -sf "$program" "$folder/nginx"
"$folder/nginx" -v 2>/dev/null || { echo "make: nginx does not run here; 'apt-get install nginx-light' and try again (what was tried: $folder/log)" >&2; exit 1; }

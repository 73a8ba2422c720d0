#!/usr/bin/env bash
# Gives a machine without a GPU a WebGPU adapter: Mesa's lavapipe, a Vulkan driver that computes on the CPU.
# Debian 12 carries a Mesa that is too old for Dawn (22.3: no descriptor indexing), so there it comes from the backports
# suite of the mirror that the machine already uses. Does nothing where an adapter is found; may be run again.
# Exit status: 0 an adapter is there, 1 the installation failed, 3 not a machine that this script knows how to change.
set -euo pipefail
cd "$(dirname "$0")/.."

have_adapter() { node scripts/find-webgpu.mjs >/dev/null 2>&1; }

if have_adapter; then
  exit 0
fi

ID=unknown VERSION_CODENAME=unknown
if [ -r /etc/os-release ]; then
  . /etc/os-release
fi
if [ "$ID" != debian ] || [ "$(id -u)" != 0 ]; then
  cat >&2 <<'EOF'
No WebGPU adapter. Tests on WebGPU need a Vulkan driver: that of the machine's GPU, or Mesa's lavapipe, version 23 or later
(package mesa-vulkan-drivers on Debian, Ubuntu and Fedora, vulkan-swrast on Arch), and the Vulkan loader (libvulkan1).
On Debian, run scripts/install-software-vulkan.sh as root.
EOF
  exit 3
fi

# The `URIs:` and `Signed-By:` lines of the first source that serves the suite $1. One-line sources (`deb [options] URI
# suite …`) are turned into the same form.
source_of_suite() {
  local files=()
  for file in /etc/apt/sources.list.d/*.sources; do
    if [ -r "$file" ]; then files+=("$file"); fi
  done
  if [ ${#files[@]} -gt 0 ]; then
    # Blank lines part the stanzas of a file; comments may stand inside them. A file's end parts them too.
    local found
    found=$(for file in "${files[@]}"; do grep -v '^#' "$file"; echo; done | awk -v suite="$1" '
      BEGIN { RS = ""; FS = "\n" }
      {
        uris = signed = ""; serves = 0
        for (i = 1; i <= NF; i++) {
          if ($i ~ /^URIs:/) uris = $i
          if ($i ~ /^Signed-By:/) signed = $i
          if ($i ~ /^Suites:/) { n = split($i, words, /[ \t]+/); for (j = 2; j <= n; j++) if (words[j] == suite) serves = 1 }
        }
        if (serves && uris != "") { print uris; if (signed != "") print signed; exit }
      }')
    if [ -n "$found" ]; then
      echo "$found"
      return
    fi
  fi
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
    if [ -r "$file" ]; then cat "$file"; fi
  done | awk -v suite="$1" '
    $1 == "deb" {
      line = $0; signed = ""
      if (match(line, /\[[^]]*\]/)) {
        options = substr(line, RSTART + 1, RLENGTH - 2)
        if (match(options, /signed-by=[^ ]+/)) signed = substr(options, RSTART + 10, RLENGTH - 10)
        sub(/\[[^]]*\]/, "", line)
      }
      split(line, words, /[ \t]+/)
      if (words[3] == suite) { print "URIs: " words[2]; if (signed != "") print "Signed-By: " signed; exit }
    }'
}

release=()
if [ "$VERSION_CODENAME" = bookworm ]; then
  suite=bookworm-backports
  release=(-t "$suite")
  if [ -z "$(source_of_suite "$suite")" ]; then
    origin=$(source_of_suite bookworm)
    if [ -z "$origin" ]; then
      echo "No apt source serves bookworm: nowhere to take $suite from" >&2
      exit 1
    fi
    printf 'Types: deb\nSuites: %s\nComponents: main\n%s\n' "$suite" "$origin" >"/etc/apt/sources.list.d/$suite.sources"
  fi
fi

echo 'Installing a software Vulkan driver with apt-get (Mesa lavapipe), for the tests on WebGPU'
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive
# A source that is of no concern here may fail to update: whether the packages install is what counts.
apt-get update -q >"$log" 2>&1 || true
if ! apt-get install -q -y --no-install-recommends "${release[@]}" mesa-vulkan-drivers libvulkan1 >>"$log" 2>&1; then
  tail -n 20 "$log" >&2
  echo 'The software Vulkan driver could not be installed' >&2
  exit 1
fi
if ! have_adapter; then
  echo 'The software Vulkan driver is installed, and Dawn still finds no adapter' >&2
  exit 1
fi

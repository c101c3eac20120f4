#!/usr/bin/env bash
# Packs what `npm run gpu-report` needs into one file of at most 64 MiB, for a Linux machine (x86-64) with an NVIDIA
# driver and nothing else: no network, no Node, no packages, maybe no Vulkan loader.
#
#   scripts/gpu_bundle.sh [FILE]              outputs/gpu_bundle.tar.xz unless given
#
# There:  tar xJf gpu_bundle.tar.xz && gpu_bundle/run.sh
# or, where xz is missing:  python3 -c "import tarfile; tarfile.open('gpu_bundle.tar.xz').extractall()" && gpu_bundle/run.sh
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
out=$(realpath -m "${1:-$root/outputs/gpu_bundle.tar.xz}")
if [ "$(uname -sm)" != "Linux x86_64" ]; then
  echo "Cannot make the bundle on $(uname -sm): need Linux on x86_64, whose Node and packages travel in it" >&2
  exit 1
fi
[ -d "$root/node_modules" ] || (cd "$root" && npm ci)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bundle=$work/gpu_bundle
mkdir -p "$bundle/lib" "$(dirname "$out")"

# The program, as it stands in the checkout: what the report reads, and no more.
(cd "$root" && tar cf - package.json tsconfig.json src kernels bench test/cases) | tar xf - -C "$bundle"
node "$root/scripts/gpu_bundle_packages.mjs" "$root" "$bundle"
cp "$(node -p process.execPath)" "$bundle/node"
if command -v strip >/dev/null; then strip "$bundle/node"; fi

# What a driver's Vulkan needs and a bare machine may lack.
for name in libvulkan.so.1 libX11.so.6 libXext.so.6 libxcb.so.1 libXau.so.6 libXdmcp.so.6 libbsd.so.0 libmd.so.0; do
  path=$(ldconfig -p | awk -v name="$name" '!path && $1 == name && /x86-64/ { path = $NF } END { print path }')
  if [ -n "$path" ]; then cp -L "$path" "$bundle/lib/$name"; fi
done

cat >"$bundle/run.sh" <<'RUN'
#!/bin/sh
# Measures this machine's card; options as of gpu-report (--small, --part, --out, --python).
cd "$(dirname "$0")" || exit 1
mkdir -p lib_here
for file in lib/*; do
  name=${file#lib/}
  if ! ldconfig -p 2>/dev/null | grep -q "$name"; then ln -sf "../$file" "lib_here/$name"; fi
done
LD_LIBRARY_PATH="$PWD/lib_here${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
export LD_LIBRARY_PATH
if [ -z "${VK_DRIVER_FILES:-}" ]; then
  for file in /usr/share/vulkan/icd.d/nvidia_icd*.json /etc/vulkan/icd.d/nvidia_icd*.json \
    /usr/local/nvidia/share/vulkan/icd.d/nvidia_icd*.json; do
    if [ -f "$file" ]; then VK_DRIVER_FILES=$file; fi
  done
  if [ -z "${VK_DRIVER_FILES:-}" ] && ldconfig -p 2>/dev/null | grep -q libGLX_nvidia.so.0; then
    VK_DRIVER_FILES=$PWD/nvidia_icd.json
    printf '{"file_format_version": "1.0.0", "ICD": {"library_path": "libGLX_nvidia.so.0", "api_version": "1.3"}}\n' \
      >"$VK_DRIVER_FILES"
  fi
  if [ -n "${VK_DRIVER_FILES:-}" ]; then export VK_DRIVER_FILES; fi
fi
exec ./node --import tsx bench/gpu_report/main.ts "$@"
RUN
chmod +x "$bundle/run.sh"

tar cf - -C "$work" gpu_bundle | xz -T0 -6 >"$out"
size=$(stat -c %s "$out")
echo "$out: $((size / 1048576)) MiB"
if [ "$size" -gt $((64 * 1048576)) ]; then
  echo "The bundle has $size bytes: more than the 64 MiB that it may have" >&2
  exit 1
fi

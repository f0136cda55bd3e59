#!/usr/bin/env bash
# Packs what a GPU machine without a network connection needs beside a copy of the project to run tools/gpu_campaign.py:
# wheels of what such machines lack, crops and the source's weights. JPEGs are packed anew without loss.
#   tools/pack_gpu.sh SHARED DIR     SHARED holds data/ and weights/; then there, from the root of a copy of the project:
#   . DIR/unpack.sh                  sets PYTHONPATH and FACEXFER_SHARED; SETS="lfw-nirsim" packs fewer sets
set -euo pipefail
shared=${1:?folder with data/ and weights/}
out=${2:?folder to fill}
read -ra sets <<<"${SETS:-lfw-nirsim lfw-vis-pool}"
mkdir -p "$out/whl"

python=$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)
platforms=()
for n in 39 34 31 28 27 24 17; do platforms+=(--platform "manylinux_2_${n}_x86_64"); done
platforms+=(--platform manylinux2014_x86_64 --platform manylinux1_x86_64)
download() {
    "$python" -m pip download -q --no-deps --only-binary=:all: --python-version 3.12 --implementation cp "${platforms[@]}" \
        -d "$out/whl" "$1"
}
# The newest stringzilla that takes a third of a megabyte.
download "stringzilla==3.12.6"
# The versions of the project's own environment, so that they fit together; albumentations' own needs among them.
for package in albumentations albucore simsimd pydantic pydantic-core annotated-types typing-inspection \
               typing-extensions tomli-w lightning-fabric; do
    version=$($python -c "import importlib.metadata as m; print('==' + m.version('$package'))" 2>/dev/null || true)
    download "$package$version"
done

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch/data" "$scratch/weights"
for set in "${sets[@]}"; do cp -r "$shared/data/$set" "$scratch/data/"; done
cp -r "$shared/weights/mobilefacenet-mxnet-y1" "$scratch/weights/"
chmod -R u+w "$scratch"
if command -v jpegtran >/dev/null; then
    # The same coefficients in fewer bytes: no pixel changes.
    find "$scratch/data" -name '*.jpg' -print0 | xargs -0 -P 2 -n 200 sh -c '
        for file; do jpegtran -optimize -progressive -copy none -outfile "$file.new" "$file" && mv "$file.new" "$file"; done' _
fi
tar -C "$scratch" -cf - data weights | xz -9e -T 2 >"$out/shared.tar.xz"

cat >"$out/unpack.sh" <<'IN'
packed=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd); site=$(mktemp -d); data=$(mktemp -d)
tar -C "$data" -xJf "$packed/shared.tar.xz" & unpacking=$!
python3 -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --target "$site" "$packed"/whl/*.whl
# backbones/ and eval/ are parts of the package facexfer: in this copy of the project two links stand for its installation.
ln -sfn "$PWD/backbones" facexfer/backbones; ln -sfn "$PWD/eval" facexfer/eval
mkdir -p "$site/facexfer-0.1.0.dist-info"; printf 'Metadata-Version: 2.1\nName: facexfer\nVersion: 0.1.0\n' >"$site/facexfer-0.1.0.dist-info/METADATA"
export PYTHONPATH="$PWD:$site" FACEXFER_SHARED="$data" PYTHONUNBUFFERED=1 NO_ALBUMENTATIONS_UPDATE=1
wait $unpacking
IN
du -sb "$out"/* | sort -n

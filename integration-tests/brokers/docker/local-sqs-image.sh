#!/bin/sh
# Makes an image of the emulator of SQS and SNS that the native brokers use, without pulling one: a Debian with Python and
# ministack, on port 4566 as LocalStack is. All of it is got if need be.
#
#   local-sqs-image.sh TAG        for example: local-sqs-image.sh posthorn/sqs
#
# Needs root, python3 with pip, and a Docker daemon that `docker` finds.
set -eu

tag=$1
brokers=$(cd "$(dirname "$0")/.." && pwd)
cache=${POSTHORN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/posthorn}/brokers
release=$(sed -n 's/^ministack==\([^ ]*\).*/\1/p' "$brokers/sqs-emulator.txt")
root=$cache/python-trixie
unshare --mount --pid --fork --kill-child sh "$brokers/debian-root.sh" trixie "$root" python3
sh "$brokers/sqs-packages.sh" "$brokers/sqs-emulator.txt" "$cache/ministack-$release" python3

overlay=$(mktemp -d)
trap 'rm -rf "$overlay"' EXIT
mkdir -p "$overlay/opt/ministack"
cp -r "$cache/ministack-$release" "$overlay/opt/ministack/packages"
cp "$brokers/sqs-emulator.py" "$overlay/opt/ministack"
chmod -R a+rX "$overlay"

tar --create --one-file-system --directory "$root" --exclude ./proc --exclude ./sys --exclude ./dev . \
  --directory "$overlay" ./opt/ministack |
  docker import \
    --change 'ENV PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 PYTHONPATH=/opt/ministack/packages' \
    --change 'ENV BIND_HOST=0.0.0.0 GATEWAY_PORT=4566 AUTH=true IOT_MTLS_ENABLED=0 SFTP_ENABLED=0' \
    --change 'USER www-data' \
    --change 'EXPOSE 4566' \
    --change 'CMD ["python3", "/opt/ministack/sqs-emulator.py"]' \
    - "$tag"

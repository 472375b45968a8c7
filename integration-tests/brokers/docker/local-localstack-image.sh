#!/bin/sh
# Makes an image of LocalStack, as far as SQS and SNS need it, without pulling one: a Debian with Python and what
# localstack.txt names. All of it is got if need be. As in localstack/localstack, it listens on port 4566 and says `Ready.`
#
#   local-localstack-image.sh TAG        for example: local-localstack-image.sh posthorn/localstack:4.14
#
# Needs root, python3 with pip, and a Docker daemon that `docker` finds.
set -eu

tag=$1
brokers=$(cd "$(dirname "$0")/.." && pwd)
cache=${POSTHORN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/posthorn}/brokers
requirements=$brokers/docker/localstack.txt
release=$(sed -n 's/^localstack-core==\([^ ]*\).*/\1/p' "$requirements")
root=$cache/python-trixie
unshare --mount --pid --fork --kill-child sh "$brokers/debian-root.sh" trixie "$root" python3

# The host's Python gets the wheels for that of the Debian.
PIP_PYTHON_VERSION=3.13 sh "$brokers/sqs-packages.sh" "$requirements" "$cache/localstack-$release" python3

overlay=$(mktemp -d)
trap 'rm -rf "$overlay"' EXIT
mkdir -p "$overlay/opt/localstack" "$overlay/usr/lib/localstack" "$overlay/var/lib/localstack"
cp -r "$cache/localstack-$release" "$overlay/opt/localstack/packages"
chmod -R a+rX "$overlay"

tar --create --one-file-system --directory "$root" --exclude ./proc --exclude ./sys --exclude ./dev . \
  --directory "$overlay" ./opt/localstack ./usr/lib/localstack ./var/lib/localstack |
  docker import \
    --change 'ENV PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 PYTHONUNBUFFERED=1 USER=localstack' \
    --change 'ENV PYTHONPATH=/opt/localstack/packages' \
    --change 'VOLUME /var/lib/localstack' \
    --change 'EXPOSE 4566' \
    --change 'CMD ["python3", "-m", "localstack.runtime.main"]' \
    - "$tag"

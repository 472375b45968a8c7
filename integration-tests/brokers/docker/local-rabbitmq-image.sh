#!/bin/sh
# Makes a RabbitMQ image without pulling one: from the Debian root that the native brokers use, which is built if need be.
#
#   local-rabbitmq-image.sh SUITE TAG        for example: local-rabbitmq-image.sh trixie posthorn/rabbitmq:4.0
#
# SUITE: bookworm for RabbitMQ 3.10, trixie for 4.0, forky for 4.3. Needs root, and a Docker daemon that `docker` finds.
set -eu

suite=$1 tag=$2
brokers=$(cd "$(dirname "$0")/.." && pwd)
root=${POSTHORN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/posthorn}/brokers/rabbitmq-$suite
unshare --mount --pid --fork --kill-child sh "$brokers/debian-root.sh" "$suite" "$root" rabbitmq-server

# Clients come from outside the container, so the user guest may not be held to the loopback address.
overlay=$(mktemp -d)
trap 'rm -rf "$overlay"' EXIT
mkdir -p "$overlay/etc/rabbitmq"
chmod 755 "$overlay" "$overlay/etc" "$overlay/etc/rabbitmq"
echo 'loopback_users = none' >"$overlay/etc/rabbitmq/rabbitmq.conf"

tar --create --one-file-system --directory "$root" --exclude ./proc --exclude ./sys --exclude ./dev . \
  --directory "$overlay" ./etc/rabbitmq/rabbitmq.conf |
  docker import \
    --change 'ENV PATH=/usr/lib/rabbitmq/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/var/lib/rabbitmq RABBITMQ_LOGS=-' \
    --change 'USER rabbitmq' \
    --change 'VOLUME /var/lib/rabbitmq' \
    --change 'EXPOSE 5672' \
    --change 'ENTRYPOINT ["rabbitmq-server"]' \
    - "$tag"

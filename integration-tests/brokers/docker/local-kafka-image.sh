#!/bin/sh
# Makes a Kafka image without pulling one: a Debian with Java, the jars that the native brokers use, and what tests need
# of apache/kafka's /opt/kafka/bin. All of it is got if need be.
#
#   local-kafka-image.sh RELEASE TAG        for example: local-kafka-image.sh 4.4.0 posthorn/kafka:4.4
#
# Needs root, mvn with a Java, and a Docker daemon that `docker` finds.
set -eu

release=$1 tag=$2
brokers=$(cd "$(dirname "$0")/.." && pwd)
cache=${POSTHORN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/posthorn}/brokers
root=$cache/java-bookworm
unshare --mount --pid --fork --kill-child sh "$brokers/debian-root.sh" bookworm "$root" openjdk-17-jre-headless
sh "$brokers/kafka-libraries.sh" "$release" "$cache/kafka-$release" mvn

overlay=$(mktemp -d)
trap 'rm -rf "$overlay"' EXIT
mkdir -p "$overlay/opt/kafka/bin" "$overlay/etc/kafka" "$overlay/var/lib/kafka/data"
cp -r "$cache/kafka-$release" "$overlay/opt/kafka/libs"
for program in kafka-storage:kafka.tools.StorageTool kafka-server-start:kafka.Kafka; do
  cat >"$overlay/opt/kafka/bin/${program%:*}.sh" <<SCRIPT
#!/bin/sh
exec java \$KAFKA_HEAP_OPTS \$KAFKA_JVM_PERFORMANCE_OPTS -cp '/opt/kafka/libs/*' ${program#*:} "\$@"
SCRIPT
done
chmod -R a+rX "$overlay"
chmod a+x "$overlay"/opt/kafka/bin/*

# As in apache/kafka, the broker is not root: user 33 stands in, Debian's www-data.
chown 33:33 "$overlay/var/lib/kafka/data"

tar --create --one-file-system --directory "$root" --exclude ./proc --exclude ./sys --exclude ./dev . \
  --directory "$overlay" ./opt/kafka ./etc/kafka ./var/lib/kafka |
  docker import \
    --change 'ENV PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8' \
    --change 'USER www-data' \
    --change 'VOLUME /var/lib/kafka/data' \
    --change 'EXPOSE 9092' \
    --change 'CMD ["/opt/kafka/bin/kafka-server-start.sh", "/etc/kafka/server.properties"]' \
    - "$tag"

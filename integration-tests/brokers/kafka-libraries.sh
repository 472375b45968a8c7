#!/bin/sh
# Gets the jars of a Kafka broker from Maven Central.
#
#   kafka-libraries.sh RELEASE FOLDER MVN
#
# Does nothing when FOLDER is there already. Builds at FOLDER.building and renames when complete, one build at a time, as
# debian-root.sh does.
set -eu

release=$1 folder=$2 building=$2.building mvn=$3
[ ! -d "$folder" ] || exit 0
mkdir -p "$(dirname "$folder")"
exec 9>"$(dirname "$folder")/lock"
flock 9
[ ! -d "$folder" ] || exit 0
rm -rf "$building"
mkdir "$building"

cat >"$building/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>posthorn</groupId>
  <artifactId>kafka-libraries</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>$release</version>
    </dependency>
    <dependency>
      <groupId>org.slf4j</groupId>
      <artifactId>slf4j-simple</artifactId>
      <version>1.7.36</version>
    </dependency>
  </dependencies>
</project>
POM
"$mvn" --quiet --batch-mode --file "$building/pom.xml" \
  org.apache.maven.plugins:maven-dependency-plugin:2.8:copy-dependencies \
  -DincludeScope=runtime -DoutputDirectory="$building/libraries" 9>&-

mv -T "$building/libraries" "$folder"
rm -rf "$building"

#!/bin/sh
# Gets the emulator of SQS and SNS from PyPI.
#
#   sqs-packages.sh REQUIREMENTS FOLDER PYTHON
#
# Does nothing when FOLDER is there already. Builds at FOLDER.building and renames when complete, one build at a time, as
# debian-root.sh does.
set -eu

requirements=$1 folder=$2 building=$2.building python=$3
[ ! -d "$folder" ] || exit 0
mkdir -p "$(dirname "$folder")"
exec 9>"$(dirname "$folder")/lock"
flock 9
[ ! -d "$folder" ] || exit 0
rm -rf "$building"

"$python" -m pip install --quiet --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes \
  --target "$building" --requirement "$requirements" 9>&-

mv -T "$building" "$folder"

#!/bin/sh
# Makes a folder that holds a whole Debian system with the packages asked for, to be used with chroot.
#
#   debian-root.sh SUITE ROOT PACKAGE...
#
# Does nothing when ROOT is there already. Builds at ROOT.building and renames when complete, one build at a time, so
# that runs beside each other wait for one another and a build that was killed is thrown away by the next one.
# Mounts are left to the mount namespace of the caller (`unshare --mount --pid --fork --kill-child`), which must be
# private; the host gets nothing installed but debootstrap.
#
# POSTHORN_DEBIAN_MIRROR names the mirror when the host's own apt sources do not (a host that is not Debian).
set -eu
export LC_ALL=C DEBIAN_FRONTEND=noninteractive

suite=$1 root=$2 building=$2.building
shift 2
[ ! -d "$root" ] || exit 0

fail() { echo "$*" >&2; exit 1; }
command -v apt-get >/dev/null || fail "no apt-get here: native brokers are built from Debian packages"

mkdir -p "$(dirname "$root")"
exec 9>"$(dirname "$root")/lock"
flock 9
[ ! -d "$root" ] || exit 0
rm -rf "$building"
mkdir "$building"

# The host: debootstrap, its mirror, its proxy, and the newest archive keys that its own (checked) archive offers.
apt-get -q update
command -v debootstrap >/dev/null || apt-get -qy -o DPkg::Lock::Timeout=120 install --no-install-recommends debootstrap
mirror=${POSTHORN_DEBIAN_MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' | head -n 1)}
[ -n "$mirror" ] || fail "apt's sources name no Debian mirror: set POSTHORN_DEBIAN_MIRROR"
eval "$(apt-config shell http_proxy Acquire::http::Proxy https_proxy Acquire::https::Proxy)"
[ -z "${http_proxy:-}" ] || export http_proxy
[ -z "${https_proxy:-}" ] || export https_proxy
keys=$building/keys
mkdir "$keys"
(cd "$keys" && apt-get -q -o APT::Sandbox::User=root download debian-archive-keyring && dpkg-deb -x ./*.deb .)

# A suite younger than the host's debootstrap has no script of its own there; sid's does.
script=/usr/share/debootstrap/scripts/$suite
[ -e "$script" ] || script=/usr/share/debootstrap/scripts/sid
debootstrap --variant=minbase --keyring="$keys/usr/share/keyrings/debian-archive-keyring.gpg" \
  "$suite" "$building/root" "$mirror" "$script" || fail "debootstrap $suite failed: $(tail -n 3 "$building/root/debootstrap/debootstrap.log" 2>&1)"

# Inside: no service may start, names must resolve, an https mirror must be trusted as the host trusts it.
printf '#!/bin/sh\nexit 101\n' >"$building/root/usr/sbin/policy-rc.d"
chmod 755 "$building/root/usr/sbin/policy-rc.d"
printf '127.0.0.1 localhost\n::1 localhost\n' >"$building/root/etc/hosts"
cp /etc/resolv.conf "$building/root/etc/resolv.conf"
if [ -e /etc/ssl/certs/ca-certificates.crt ]; then
  mkdir -p "$building/root/etc/ssl/certs"
  cp /etc/ssl/certs/ca-certificates.crt "$building/root/etc/ssl/certs/"
fi
echo force-unsafe-io >"$building/root/etc/dpkg/dpkg.cfg.d/posthorn"
printf 'path-exclude /usr/share/%s/*\n' doc man locale >>"$building/root/etc/dpkg/dpkg.cfg.d/posthorn"
mountpoint -q "$building/root/proc" || mount -t proc proc "$building/root/proc"
# A mirror that lags, or is a snapshot, has an out-of-date testing suite: its signature is checked, its age is not, just
# as debootstrap did for the base a moment ago.
chroot "$building/root" apt-get -q -o Acquire::Check-Valid-Until=false update
chroot "$building/root" apt-get -qy install --no-install-recommends "$@"
chroot "$building/root" apt-get clean
rm -rf "$building/root"/var/lib/apt/lists/*
umount "$building/root/proc"

mv -T "$building/root" "$root"
rm -rf "$building"

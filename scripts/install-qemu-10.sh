#!/bin/sh
# Unpacks QEMU 10.0 of Debian bookworm-backports beside the installed one, for capturing and for differential runs.
#
#   scripts/install-qemu-10.sh TARGET_DIR
#
# Nothing is installed and no configuration of the system changes: apt works on lists and a cache of its own, and the
# packages are only unpacked. TARGET_DIR/run starts the emulator, TARGET_DIR/qemu-img and TARGET_DIR/qemu-io the tools.
# Doing it again is free once TARGET_DIR/run works.
set -eu

suite=bookworm-backports
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}

if [ $# -ne 1 ]; then
  echo "usage: $0 TARGET_DIR" >&2
  exit 2
fi
mkdir -p "$1"
target=$(cd "$1" && pwd)

if [ -x "$target/run" ] && "$target/run" --version >/dev/null 2>&1; then
  "$target/run" --version | head -n 1
  exit 0
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
mkdir -p "$work/lists/partial" "$work/archives/partial" "$work/parts"
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
{
  echo "deb [signed-by=$keyring] $mirror bookworm main"
  echo "deb [signed-by=$keyring] $mirror $suite main"
} >"$work/sources.list"

private_apt() {
  apt-get -q \
    -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts="$work/parts" \
    -o Dir::State::Lists="$work/lists" -o Dir::Cache="$work" -o Dir::Cache::Archives="$work/archives" \
    -o Debug::NoLocking=true -o APT::Sandbox::User="$(id -un)" "$@"
}

private_apt update
# What the host lacks comes along; what it has is used where it is.
private_apt install --yes --download-only --no-install-recommends --allow-downgrades \
  -t "$suite" qemu-system-x86 qemu-utils
for package in "$work"/archives/*.deb; do
  dpkg -x "$package" "$target"
done

library_dir=$(dpkg-architecture -qDEB_HOST_MULTIARCH 2>/dev/null || echo x86_64-linux-gnu)
wrapper() {
  cat >"$target/$1" <<EOF
#!/bin/sh
here=\$(cd "\$(dirname "\$(readlink -f "\$0")")" && pwd)
LD_LIBRARY_PATH="\$here/usr/lib/$library_dir:\$here/lib/$library_dir\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}"
QEMU_MODULE_DIR="\$here/usr/lib/$library_dir/qemu"
export LD_LIBRARY_PATH QEMU_MODULE_DIR
exec "\$here/usr/bin/$2" $3"\$@"
EOF
  chmod 755 "$target/$1"
}
wrapper run qemu-system-x86_64 '-L "$here/usr/share/qemu" -L "$here/usr/share/seabios" -L /usr/share/seabios '
wrapper qemu-img qemu-img ''
wrapper qemu-io qemu-io ''
"$target/run" --version | head -n 1

# Makes a container's view of the machine and becomes its first process; run by `unshare --uts --mount`.
#
#   LAYER HOSTNAME WORKDIR OVERLAY_OPTIONS PROGRAM PROGRAM_PATH [rw|ro SOURCE TARGET]... -- NAME=VALUE... PROGRAM ARGUMENT...
#
# Standard input is a pipe to the kubelet: what is written there is why the container cannot start, and its end means
# that COMMAND runs. Every path is resolved inside the new root before it is mounted on: a link such as /var/run -> /run
# would otherwise lead out to the host.
set -eu
exec 3>&0 4>&2 0</dev/null 2>&3

layer=$1 hostname=$2 workdir=$3 options=$4 program=$5 program_path=$6
shift 6
root=$layer/root
PATH=$PATH:/usr/sbin:/sbin

inside() { chroot "$root" sh -c "$@"; }

# A private, writable layer over each folder of the host: one over / would not show what is mounted below it.
mount -t tmpfs -o mode=755 container "$layer"
mkdir "$layer/upper" "$layer/work" "$root"
for entry in /*; do
    if [ -L "$entry" ]; then
        cp -P -- "$entry" "$root$entry"
    elif [ -d "$entry" ]; then
        case $entry in /proc | /sys | /dev) continue ;; esac
        mkdir -- "$root$entry" "$layer/upper$entry" "$layer/work$entry"
        # Without root's rights a folder with mounts below it cannot be a lower layer; then it is the host's own.
        mount -t overlay -o "lowerdir=$entry,upperdir=$layer/upper$entry,workdir=$layer/work$entry$options" \
            container "$root$entry" 2>/dev/null || mount --rbind -- "$entry" "$root$entry"
    fi
done

mkdir "$root/proc" "$root/sys" "$root/dev"
mount --rbind /proc "$root/proc"
mount --rbind /sys "$root/sys"
mount -t tmpfs -o mode=755 dev "$root/dev"
for device in null zero full random urandom tty; do
    : >"$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
cp -P /dev/fd /dev/stdin /dev/stdout /dev/stderr "$root/dev"
mkdir -m 1777 "$root/dev/shm"

while [ "$1" != -- ]; do
    mode=$1 source=$2 target=$3
    shift 3
    if [ -d "$source" ]; then
        target=$(inside 'mkdir -p -- "$1" && readlink -f -- "$1"' sh "$target")
    else
        target=$(inside 'mkdir -p -- "$(dirname -- "$1")" && { [ -e "$1" ] || : >"$1"; } && readlink -f -- "$1"' sh "$target")
    fi
    mount --bind -- "$source" "$root$target"
    [ "$mode" = rw ] || mount -o remount,bind,ro -- "$root$target"
done
shift

hostname "$hostname"
inside 'mkdir -p -- "$1" && cd -- "$1" && PATH=$2 && command -v -- "$3" >/dev/null' \
    sh "$workdir" "$program_path" "$program" || {
    echo "exec: \"$program\": executable file not found in \$PATH" >&2
    exit 1
}
# The kubelet's own death ends the container, as a machine's does.
exec chroot "$root" setpriv --pdeathsig KILL env -i --chdir="$workdir" "$@" 2>&4 3>&- 4>&-

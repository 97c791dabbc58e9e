# Sourced by tests/lab/appliance: a machine in QEMU, its power, its network's plug, and a root's shell in it. `cannot` and
# `work`, a folder, are the lab's.
# shellcheck shell=bash disable=SC2154

readonly boot_limit=180 # seconds; ten with KVM
qemu='' accelerator=''

# The disk, which nothing is written to, and what else the machine is to find, as a tar on a second disk. IMAGE PAYLOAD
make_machine() {
    image=$1 payload=$2
    for tool in qemu-system-x86_64:qemu-system-x86 qemu-img:qemu-utils; do
        command -v "${tool%:*}" >/dev/null || cannot "${tool%:*} is missing (Debian: ${tool#*:})"
    done
    if kvm_works; then accelerator=kvm; else accelerator=tcg,thread=multi,tb-size=512; fi
    qemu-img create -q -f qcow2 -F raw -b "$image/disk" "$work/disk.qcow2" || cannot "qemu-img failed"
    mkfifo "$work"/{lab,monitor}.{in,out}
    exec {to_lab}<>"$work/lab.in" {from_lab}<>"$work/lab.out" {to_monitor}<>"$work/monitor.in"
}

# Whether a kernel gets so far with KVM that it says its name: where KVM itself is emulated, /dev/kvm opens, and Debian's
# kernel, which knows nothing of that, hangs at its first steps.
kvm_works() {
    [ -w /dev/kvm ] || return 1
    timeout 8 qemu-system-x86_64 -M q35,sata=off -nodefaults -display none -accel kvm -cpu host -m 512 -no-reboot -serial stdio \
        -kernel "$image/kernel" -append 'console=ttyS0 earlyprintk=serial panic=-1' </dev/null 2>/dev/null |
        grep -aqm 1 'Linux version'
}

# Switches it on; ARGUMENTS are more of QEMU's, or `--kernel WORDS` for the kernel's command line.
power_on() {
    local words=''
    [ "${1:-}" != --kernel ] || { words=$2 && shift 2; }
    local model=max
    [ "$accelerator" != kvm ] || model=host
    qemu-system-x86_64 -name uplinkd-appliance -M q35,sata=off -nodefaults -display none -accel "$accelerator" -cpu "$model" \
        -smp 2 -m 1536 -kernel "$image/kernel" -initrd "$image/initrd" \
        -append "root=LABEL=root ro console=ttyS0 net.ifnames=0 panic=10 $words" \
        -drive "file=$work/disk.qcow2,if=virtio,cache=unsafe" -drive "file=$payload,if=virtio,format=raw,readonly=on" \
        -netdev user,id=network -device virtio-net-pci,netdev=network,id=plug -device virtio-rng-pci \
        -chardev "file,id=console,path=$work/console,append=on" -serial chardev:console \
        -device virtio-serial-pci -chardev "pipe,id=lab,path=$work/lab" -device virtserialport,chardev=lab,name=lab \
        -chardev "pipe,id=monitor,path=$work/monitor" -mon chardev=monitor,mode=readline \
        "$@" </dev/null >>"$work/qemu.log" 2>&1 &
    qemu=$!
}

# It is up when its shell says so, which happens once a start.
wait_for_up() {
    local word
    while read -r -t "$boot_limit" -u "$from_lab" word _; do
        [ "$word" != up ] || return 0
    done
    kill -0 "$qemu" 2>/dev/null || cannot "QEMU ended: $(tail -n 3 "$work/qemu.log")"
    cannot "the machine does not boot: $(tail -n 5 "$work/console")"
}

# Runs a command of bash in it, as root, with its output and status; 124 where it takes too long. `inside_limit` seconds.
inside() {
    local tag=$BASHPID.$RANDOM seen status output
    printf '%s %s %s\n' "$tag" "${inside_limit:-30}" "$(base64 -w 0 <<<"$*")" >&"$to_lab"
    while read -r -t $((${inside_limit:-30} + 10)) -u "$from_lab" seen status output; do
        [ "$seen" = "$tag" ] || continue # an answer that nobody has waited for
        base64 -d <<<"$output"
        return "$status"
    done
    return 124
}

# Writes standard input into a file in it. FILE
put() { inside "base64 -d >$1 <<<$(base64 -w 0)"; }

# The plug of its network: on or off.
network() { monitor "set_link plug $1"; }

# As when somebody pulls the other plug, and puts it back.
power_cut() { monitor system_reset; }

# Its answers stay in their pipe, which holds those of a hundred commands.
monitor() { echo "$1" >&"$to_monitor"; }

reboot_it() {
    inside 'systemd-run -q --on-active=0 systemctl reboot' >/dev/null || return 1
    wait_for_up
}

power_off() {
    [ -n "$qemu" ] || return 0
    inside 'systemd-run -q --on-active=0 systemctl poweroff' >/dev/null || true
    local until=$((SECONDS + 60))
    while kill -0 "$qemu" 2>/dev/null && [ "$SECONDS" -lt "$until" ]; do sleep 0.3; done
    end_machine
}

end_machine() {
    [ -z "$qemu" ] || { kill "$qemu" 2>/dev/null && wait "$qemu"; } || true
    qemu=''
}

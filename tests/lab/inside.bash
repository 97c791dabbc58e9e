# Sourced by the parts of the labs that run inside: drives the daemon, and writes down what is seen. UPLINKD is
# told; configurations are read from, and all else left in, $LAB_RUN.
# shellcheck shell=bash

readonly api=http://127.0.0.1:9980
readonly start_limit=60 # seconds to be on air: the first look at GStreamer's plugins is slow here

# Starts the daemon and waits until it is on air with the camera's picture. RUN
begin() {
    run=$1 began=$SECONDS
    : >"$LAB_RUN/$run.facts"
    mark "$run begins"
    [ ! -e "$LAB_RUN/$run.port" ] || receive
    # What earlier probes found is of another machine, or of another run.
    rm -rf "$LAB_RUN/$run.cache"
    XDG_CACHE_HOME=$LAB_RUN/$run.cache "$UPLINKD" run --config "$LAB_RUN/$run.toml" >"$LAB_RUN/$run.log" 2>&1 &
    daemon=$!
    waits_for "$start_limit" '.state == "streaming" and .source.state == "live"' || return 1
    note streaming $((SECONDS - began))
    note element "$(status .encoder.element)"
}

end() {
    local exit=0
    status . >"$LAB_RUN/$run.json" || true
    kill -TERM "$daemon" 2>/dev/null || true
    wait "$daemon" || exit=$?
    note exit "$exit"
    [ -z "${receiver:-}" ] || wait "$receiver" || true
    receiver=''
    mark "$run ends"
}

receive() {
    srt-live-transmit -loglevel:fatal -autoreconnect:no "srt://:$(<"$LAB_RUN/$run.port")?mode=listener" file://con \
        >"$LAB_RUN/$run.ts" 2>"$LAB_RUN/$run.receiver.log" &
    receiver=$!
}

status() { curl -sS --max-time 2 "$api/v1/streams/main" 2>/dev/null | jq -r "$1"; }

# SECONDS CONDITION
waits_for() {
    local until=$((SECONDS + $1))
    while [ "$SECONDS" -lt "$until" ] && kill -0 "$daemon" 2>/dev/null; do
        [ "$(status "$2" || true)" = true ] && return
        sleep 0.25
    done
    return 1
}

# Of the one processor, in hundredths of a second: user, nice, system, idle, from the second field on.
processor() { grep '^cpu ' /proc/stat; }

# How much of it was used since `processor` gave that.
note_busy() {
    note busy_percent "$(awk -v before="$1" 'BEGIN { split(before, a) }
        /^cpu / { printf "%d", 100 - 100 * ($5 - a[5]) / ($2 + $3 + $4 + $5 - a[2] - a[3] - a[4] - a[5]) }' /proc/stat)"
}

# Gives them the names of udev's, and goes on doing so.
name_cameras() {
    local inside
    inside=$(dirname "${BASH_SOURCE[0]}")
    "$inside/udev" --once
    "$inside/udev" &
}

# The node of a camera on the platform bus, as soon as it is there; its number may be another each time. DEVICE
node_of() {
    local node until=$((SECONDS + 5))
    while [ "$SECONDS" -lt "$until" ]; do
        node=$(echo "/sys/devices/platform/$1/video4linux/"video*)
        node=/dev/${node##*/}
        [ ! -c "$node" ] || { echo "$node" && return; }
        sleep 0.05
    done
    echo "$1 has no node" >&2
    return 1
}

note() { echo "$1 $2" >>"$LAB_RUN/$run.facts"; }

# Into the kernel's log, beside what devices say.
mark() { echo "lab: $1" >/dev/kmsg; }

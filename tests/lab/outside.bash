# Sourced by the labs that run the daemon in User-Mode Linux: what they share on this side. A lab has set
# `lab`, the folder of this file, and `topic`, what it calls itself, and stands in the checkout's root.
# shellcheck shell=bash disable=SC2034,SC2154 # variables of the lab's

target=${CARGO_TARGET_DIR:-target}/debug
uplinkd=$(realpath -m "${UPLINKD:-$target/uplinkd}")
tscheck=$(realpath -m "${TSCHECK:-$target/examples/tscheck}")
here=10.99.0.1          # where it is received: this side, as tests/lab/uml has it
machine=(--net)         # options of tests/lab/uml
width=640 height=360 encoder=x264enc keyframe_interval_ms=2000 rates=(300 800 1500) # a lab may set others
readonly too_busy=97    # percent of the one emulated processor
work='' keep='' own_time='' passed=0 failed=0 receivers=()

usage() {
    sed -n '2,/^set -eu/{/^set/d;s/^# \{0,1\}//;p}' "$lab/${0##*/}" >&2
    exit 2
}

cannot() {
    echo "the lab of $topic cannot run: $*" >&2
    keep=yes # whatever there is to look at
    exit 1
}

# Runs the lab with its arguments once more, in a network namespace of our own: what listens here is nobody
# else's, and what is made here goes with us. Returns where that is so already.
own_network() {
    local program
    for program in unshare ip srt-live-transmit ffmpeg; do
        command -v "$program" >/dev/null || cannot "$program is missing (Debian: util-linux iproute2 srt-tools ffmpeg)"
    done
    for program in curl jq v4l2-ctl modprobe python3; do # inside
        PATH=$PATH:/usr/sbin:/sbin command -v "$program" >/dev/null ||
            cannot "$program is missing (Debian: curl jq v4l-utils kmod python3)"
    done
    for program in "$uplinkd" "$tscheck"; do
        [ -x "$program" ] || cannot "there is no $program: make builds it, see above"
    done
    [ -c /dev/net/tun ] || cannot "there is no /dev/net/tun"
    if [ -z "${LAB_OWN_NETWORK:-}" ]; then
        local root=()
        [ "$(id -u)" = 0 ] || root=(--map-root-user)
        unshare "${root[@]}" --net true 2>/dev/null || cannot "the kernel refuses a network namespace here"
        LAB_OWN_NETWORK=yes exec unshare "${root[@]}" --net "$lab/${0##*/}" "$@"
    fi
    ip link set lo up
}

# The folder for logs and recordings, and the machine inside.
prepare() {
    [ -z "$own_time" ] || here=127.0.0.1 machine=(--own-time)
    if [ -n "$keep" ]; then mkdir -p "$keep" && work=$(cd "$keep" && pwd); else work=$(mktemp -d); fi
    trap stop EXIT
    trap 'exit 130' INT TERM
    "$lab/kernel" >/dev/null || cannot "there is no kernel"
}

stop() {
    local receiver
    for receiver in "${receivers[@]}"; do kill "$receiver" 2>/dev/null || true; done
    [ -n "$keep" ] || rm -rf "$work"
}

# RUN PORT DEVICE FRAMERATE
configure() {
    cat >"$work/$1.toml" <<TOML
[api]
listen = "127.0.0.1:9980"

[streams.main]
enabled = true

[streams.main.video]
source = "v4l2"
device = "$3"
width = $width
height = $height
framerate = $4
encoder = "$encoder"
keyframe_interval_ms = $keyframe_interval_ms

[streams.main.audio]
source = "test"

[streams.main.rate]
min_kbps = ${rates[0]}
start_kbps = ${rates[1]}
max_kbps = ${rates[2]}

[[streams.main.outputs]]
name = "receiver"
url = "srt://$here:$2"
latency_ms = 1000
TOML
}

# libsrt, for one connection and no other: whoever connects anew finds nobody. Where time is the machine's own, it
# is received inside, by the same program. RUN PORT
receive() {
    [ -z "$own_time" ] || { echo "$2" >"$work/$1.port" && return; }
    srt-live-transmit -loglevel:fatal -autoreconnect:no "srt://:$2?mode=listener" file://con \
        >"$work/$1.ts" 2>"$work/$1.receiver.log" &
    receivers+=("$!")
}

# What a receiver sees. RUN LEAST_PICTURES
judge_recording() {
    "$tscheck" "$work/$1.ts" >"$work/$1.tscheck" || cannot "$work/$1.ts is not there"
    local figure pictures decoder
    pictures=$(fact_of_recording "$1" pictures)
    check "$pictures pictures arrived" [ "${pictures:-0}" -ge "$2" ]
    for figure in continuity_errors torn backward_timestamps damaged_pictures; do
        check "$figure: $(fact_of_recording "$1" "$figure")" [ "$(fact_of_recording "$1" "$figure")" = 0 ]
    done
    check "one connection" [ "$(fact "$1" connections)" = 1 ]
    decoder=$(ffmpeg -v error -xerror -i "$work/$1.ts" -fps_mode passthrough -enc_time_base 1:90000 -f null - 2>&1 | head -n 1) || true
    check "ffmpeg decodes it all${decoder:+: $decoder}" [ -z "$decoder" ]
}

# Which of red, green and blue followed each other on air, whatever was in between. RUN
colors() {
    ffmpeg -v error -i "$work/$1.ts" -map 0:v -vf scale=1:1:flags=area,format=rgb24 -f rawvideo - | od -An -v -tu1 -w3 | awk '
        function high(value) { return value > 160 }
        function low(value) { return value < 60 }
        { color = "" }
        high($1) && low($2) && low($3) { color = "red" }
        low($1) && high($2) && low($3) { color = "green" }
        low($1) && low($2) && high($3) { color = "blue" }
        { pictures = color == last ? pictures + 1 : 1; last = color }
        pictures == 3 && color != "" && color != told { printf "%s ", color; told = color }'
}

judge_end() {
    check "SIGTERM drains it: exit status $(fact "$1" exit)" [ "$(fact "$1" exit)" = 0 ]
}

# Counts, and fails if any did; then with a word on the machine, if that may be why. RUN
sum_up() {
    echo "$passed passed, $failed failed"
    [ "$failed" != 0 ] || return 0
    local busy
    busy=$(fact "$1" busy_percent)
    [ "${busy:-100}" -lt "$too_busy" ] || # nothing that is in real time works then
        echo "The machine inside had no processor time left: repeat it where less else runs (load average here:" \
            "$(cut -d' ' -f1-3 /proc/loadavg))." >&2
    return 1
}

check() {
    local what=$1
    shift
    if "$@" 2>/dev/null; then
        passed=$((passed + 1)) && echo "ok      $what"
    else
        failed=$((failed + 1)) && echo "FAILED  $what"
    fi
}

# What was written down inside, and what the checker found.
fact() { awk -v name="$2" '$1 == name { value = $2 } END { print value }' "$work/$1.facts"; }
fact_of_recording() { awk -v name="$2" '$1 == name { value = $2 } END { print value }' "$work/$1.tscheck"; }
reached() { [ -n "$(fact "$1" "$2")" ]; }

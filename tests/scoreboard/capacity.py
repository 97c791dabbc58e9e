"""What a link will carry, known in advance: for the reference that needs no measuring.

A plan is a list of (seconds since the link's start, kbit/s of picture).
"""

import json
import os

LOOK_AHEAD_S = 0.5
PICTURE_SHARE = 0.93  # of the capacity: packing as TS takes 4 %, SRT, UDP and IP headers 3 %
MAHIMAHI_BYTES = 1500  # one opportunity


def of_lab(lab, name):
    """The capacity of a scenario of a link lab, in kbit/s for each half second."""
    with open(f'{lab}/harness/scenarios.json') as f:
        scenario = json.load(f)[name]
    seconds = scenario['dur']
    if 'up_kbps' in scenario:
        steps = [(0, scenario['up_kbps'])]
        means = mean_of_steps(steps, 1, seconds)
    else:
        path = f"{lab}/traces/{scenario['up']}"
        offset = scenario.get('offset', 0)
        with open(path) as f:
            lines = [line.strip() for line in f if line.strip() and not line.startswith('#')]
        if path.endswith('.csv'):
            steps = [tuple(map(float, line.split(','))) for line in lines]
            steps = [((ms - steps[0][0]) / 1000, kbps) for ms, kbps in steps]
            last = steps[-1][0] - steps[-2][0] if len(steps) > 1 else 1
            means = mean_of_steps(steps, steps[-1][0] + last, seconds, offset)
        else:
            means = mean_of_opportunities([int(line) / 1000 for line in lines], seconds, offset)
    means = [mean * scenario.get('scale', 1) for mean in means]
    return without(means, [scenario['outage']] if 'outage' in scenario else [])


def of_spec(spec, seconds):
    """The capacity of a link of our own, in kbit/s for each half second."""
    steps, outages = [], []
    for part in spec.split(','):
        key, value = part.split('=', 1)
        if key == 'rate':
            steps.append((0, kbps(value)))
        elif key == 'at':
            at, rate = value.split(':rate=')
            steps.append((float(at.removesuffix('s')), kbps(rate)))
        elif key == 'outage':
            outages.append([float(time.removesuffix('s')) for time in value.split('+')])
    return without(mean_of_steps(sorted(steps), seconds + 1, seconds), outages)


def plan(capacity, lowest, highest):
    """The rates that fit: half a second before a fall, and not before a rise."""
    rates = []
    for slot, now in enumerate(capacity):
        ahead = capacity[slot + 1] if slot + 1 < len(capacity) else now
        rate = round(min(max(PICTURE_SHARE * min(now, ahead), lowest), highest))
        if not rates or rates[-1][1] != rate:
            rates.append((slot * LOOK_AHEAD_S, rate))
    return rates


def kbps(rate):
    return float(rate[:-1]) * {'k': 1, 'M': 1000}[rate[-1]]


def slots(seconds):
    return range(int(seconds / LOOK_AHEAD_S))


def mean_of_steps(steps, period, seconds, offset=0):
    """`steps` are (seconds, kbit/s) in order, the first at 0, and start over after `period`."""
    def rate(at):
        at %= period
        return next(kbps for start, kbps in reversed(steps) if start <= at)

    parts = 10  # of a slot: 50 ms, finer than any trace that is a list of steps
    return [
        sum(rate(offset + slot * LOOK_AHEAD_S + (part + 0.5) * LOOK_AHEAD_S / parts) for part in range(parts)) / parts
        for slot in slots(seconds)
    ]


def mean_of_opportunities(times, seconds, offset=0):
    """`times` in seconds, each of a chance to deliver a packet, the last also the period."""
    period = times[-1]
    counts = [0] * len(slots(seconds))
    begun = offset // period * period
    while begun < offset + seconds:
        for at in times:
            slot = int((begun + at - offset) // LOOK_AHEAD_S)
            if 0 <= slot < len(counts):
                counts[slot] += 1
        begun += period
    return [count * MAHIMAHI_BYTES * 8 / 1000 / LOOK_AHEAD_S for count in counts]


def without(means, outages):
    """Nothing is carried in an outage, (start, duration) in seconds."""
    def share(slot):
        begin, end = slot * LOOK_AHEAD_S, (slot + 1) * LOOK_AHEAD_S
        lost = sum(max(0, min(end, start + length) - max(begin, start)) for start, length in outages)
        return 1 - lost / LOOK_AHEAD_S

    return [mean * share(slot) for slot, mean in enumerate(means)]


def write(path, rates):
    with open(path, 'w') as f:
        f.writelines(f'{at} {rate}\n' for at, rate in rates)


def read(path):
    if not os.path.exists(path):
        return []
    with open(path) as f:
        return [(float(at), int(rate)) for at, rate in map(str.split, f)]

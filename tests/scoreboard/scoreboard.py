#!/usr/bin/env python3
"""Runs the daemon over many links, beside two references, and writes one table.

With a link lab (its harness/run.py, traces and receiver, built) its scenarios are run; without one,
those of SYNTHETIC below, over our own link model. The references are the daemon at a constant rate,
and the daemon told in advance what the link will carry. Every run is in real time and wants a quiet
machine. `make scoreboard` builds what is needed first.
"""

import argparse
import concurrent.futures
import datetime
import json
import os
import queue
import shlex
import statistics
import subprocess
import sys

import capacity

HERE = os.path.dirname(os.path.abspath(__file__))
MIN_KBPS, MAX_KBPS = 500, 6000
FIRST_PORT = 24000  # of a lab's runs, ten for each that goes on at the same time

# name: link, seconds. The link lab's synthetic scenarios, in the spelling of `--link`.
RAMP = ','.join(f'at={second}s:rate={1000 + 150 * abs(40 - second % 80)}k' for second in range(1, 110))
SYNTHETIC = {
    'steps': ('rate=6500k,delay=25ms,at=40s:rate=1500k,at=80s:rate=6500k', 130),
    'ramp': (f'rate=7000k,delay=25ms,{RAMP}', 110),
    'outage3': ('rate=6500k,delay=25ms,outage=30s+3s', 80),
    'loss2': ('rate=8000k,delay=40ms,loss=0.02', 70),
    'burstloss': ('rate=8000k,delay=40ms,queue=150000,loss=ge:0.004:0.15:0.0005:0.5', 70),
}


class Lab:
    """The scenarios of a link lab."""

    def __init__(self, folder):
        self.folder = os.path.abspath(folder)
        needed = {
            'harness/run.py': 'this is not a link lab',
            'harness/scenarios.json': 'this is not a link lab',
            'harness/linkemu/target/release/linkemu': 'cd harness/linkemu && cargo build --release',
            'harness/tools/srtrecv': 'gcc -O2 -o harness/tools/srtrecv harness/tools/srtrecv.c -lsrt',
            'media/clip.mkv': 'mkdir -p media && harness/tools/mkclip.sh media/clip.mkv 140',
        }
        missing = {path: how for path, how in needed.items() if not os.path.exists(f'{self.folder}/{path}')}
        if missing:
            lines = [f'{self.folder} cannot be used: in a copy that may be written to, these are missing:']
            sys.exit('\n'.join(lines + [f'  {path}: {how}' for path, how in missing.items()]))
        with open(f'{self.folder}/harness/scenarios.json') as f:
            self.names = [name for name in json.load(f) if not name.startswith('_')]
        self.clip = f'{self.folder}/media/clip.mkv'

    def capacity(self, name):
        return capacity.of_lab(self.folder, name)

    prepare = None  # its run.py sees to it

    def command(self, run, slot, sender):
        return [sys.executable, f'{self.folder}/harness/run.py', '--name', run.sender, '--scenario', run.scenario,
                '--latency', str(run.latency), '--seed', str(run.seed), '--out', run.out,
                '--port', str(FIRST_PORT + 10 * slot), '--cmd', sender]


class Own:
    """The scenarios that the project ships, run by the program of linkrun.rs."""

    def __init__(self, linkrun, clip):
        self.names = list(SYNTHETIC)
        self.linkrun = linkrun
        self.clip = clip or self.make_clip()

    def capacity(self, name):
        return capacity.of_spec(*SYNTHETIC[name])

    @staticmethod
    def prepare():
        """Keeps a busy machine from starving the run: as root; others do without."""
        try:
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(5))
        except PermissionError:
            pass

    def make_clip(self):
        """The clip that the tests of the rate use, which linkrun makes."""
        made = subprocess.run([self.linkrun, 'clip'], stdout=subprocess.PIPE, text=True)
        return made.stdout.strip() if made.returncode == 0 else sys.exit('the clip cannot be made')

    def command(self, run, _slot, sender):
        link, seconds = SYNTHETIC[run.scenario]
        return [self.linkrun, 'run', '--link', f'{link},seed={run.seed}', '--duration', str(seconds),
                '--latency', str(run.latency), '--max-kbps', str(MAX_KBPS), '--out', run.folder, '--cmd', sender]


class Run:
    """One sender through one scenario."""

    def __init__(self, options, out, sender, scenario, seed):
        self.sender, self.scenario, self.seed = sender, scenario, seed
        self.latency, self.out = options.latency, out
        self.folder = f'{out}/{sender}-{scenario}-{options.latency}-s{seed}'

    def do(self, options, links, slot):
        """Its score; a dictionary with `error` where there is none."""
        os.makedirs(self.folder, exist_ok=True)
        words = [sys.executable, f'{HERE}/sender.py', '--binary', options.binary, '--clip', links.clip,
                 '--min-kbps', str(MIN_KBPS), '--max-kbps', str(MAX_KBPS)]
        if self.sender == 'constant':
            words += ['--constant', str(options.constant)]
        if self.sender == 'oracle':
            plan = f'{self.folder}/plan'
            capacity.write(plan, capacity.plan(links.capacity(self.scenario), MIN_KBPS, MAX_KBPS))
            words += ['--plan', plan]
        sender = shlex.join(words) + ' --dir {dir} --port {port} --latency {latency}'
        with open(f'{self.folder}/run.log', 'w') as log:
            command = links.command(self, slot, sender)
            status = subprocess.run(command, stdout=log, stderr=log, preexec_fn=links.prepare).returncode
        try:
            with open(f'{self.folder}/score.json') as f:
                return json.load(f)
        except (OSError, ValueError):
            return {'error': f'no score (status {status}), see {self.folder}/run.log'}


def median(scores, key):
    values = [score[key] for score in scores if isinstance(score.get(key), (int, float))]
    return statistics.median(values) if values else None


def event_median(scores, key):
    """Over the events of a kind; None where one never came."""
    values = [event.get(key) for score in scores for event in score.get('events', []) if key in event]
    return statistics.median(values) if values and None not in values else None


def summary(scores):
    """One sender's figures of one scenario: the median of its seeds."""
    good = [score for score in scores if 'util' in score and score['util'] is not None]
    if len(good) < len(scores):
        return None
    figures = {key: median(good, key) for key in ('util', 'qd_p50', 'qd_p95', 'lost_pct', 'late_pct', 'freeze_s')}
    return figures | {key: event_median(good, key) for key in ('react_s', 'refill_s')}


COLUMNS = [('util', 3), ('qd_p50', 0), ('qd_p95', 0), ('lost_pct', 2), ('late_pct', 2), ('freeze_s', 2),
           ('react_s', 1), ('refill_s', 1)]


def cells(figures):
    def cell(key, digits):
        value = figures.get(key)
        return '' if value is None else f'{value:.{digits}f}'

    texts = dict((key, cell(key, digits)) for key, digits in COLUMNS)
    reaction = f"{texts['react_s']} / {texts['refill_s']}" if texts['react_s'] or texts['refill_s'] else ''
    return [texts['util'], f"{texts['qd_p50']} / {texts['qd_p95']}", texts['lost_pct'], texts['late_pct'],
            texts['freeze_s'], reaction]


def table(results, scenarios, senders):
    """`results`: (scenario, sender) to a list of scores."""
    head = ['scenario', 'sender', 'util', 'queue p50 / p95 ms', 'lost %', 'late %', 'freeze s', 'react / refill s']
    lines = [head, ['---'] * 2 + ['---:'] * 6]
    sums = {sender: [] for sender in senders}
    for scenario in scenarios:
        for place, sender in enumerate(senders):
            figures = summary(results[scenario, sender])
            name = scenario if place == 0 else ''
            if figures is None:
                lines.append([name, sender, 'no stream'] + [''] * 5)
            else:
                sums[sender].append(figures)
                lines.append([name, sender] + cells(figures))
    for place, sender in enumerate(senders):
        means = {}
        for key, _ in COLUMNS:
            values = [figures[key] for figures in sums[sender] if figures[key] is not None]
            means[key] = statistics.mean(values) if values else None
        missing = len(scenarios) - len(sums[sender])
        note = f'**mean** (without {missing})' if missing else '**mean**'
        lines.append([note if place == 0 or missing else '', sender] + cells(means))
    return ''.join('| ' + ' | '.join(line) + ' |\n' for line in lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--binary', required=True, help='the daemon')
    parser.add_argument('--linklab', metavar='DIR', help='a built link lab; without, the scenarios of the project')
    parser.add_argument('--linkrun', help="the program that runs the project's own scenarios")
    parser.add_argument('--clip', help="for the project's own scenarios")
    parser.add_argument('--scenarios', default='', help='names, separated by blanks; all by default')
    parser.add_argument('--latency', type=int, default=2000, help='ms')
    parser.add_argument('--seeds', default='1', help='separated by blanks; the table shows medians')
    parser.add_argument('--jobs', type=int, default=1, help='runs at a time; two fit on two cores')
    parser.add_argument('--references', type=int, choices=(0, 1), default=1)
    parser.add_argument('--constant', type=int, default=MIN_KBPS, metavar='KBPS', help='of the reference')
    parser.add_argument('--out', required=True, help='a folder; each pass makes its own in it')
    options = parser.parse_args()

    options.binary = os.path.abspath(options.binary)
    links = Lab(options.linklab) if options.linklab else Own(options.linkrun, options.clip)
    scenarios = options.scenarios.split() or links.names
    unknown = set(scenarios) - set(links.names)
    if unknown:
        sys.exit(f"no such scenario: {', '.join(sorted(unknown))}; there are {' '.join(links.names)}")
    seeds = [int(seed) for seed in options.seeds.split()]
    senders = ['uplinkd'] + (['constant', 'oracle'] if options.references else [])

    begun = datetime.datetime.now()
    out = os.path.abspath(f'{options.out}/{begun:%Y-%m-%dT%H-%M-%S}')
    os.makedirs(out)
    runs = [Run(options, out, sender, scenario, seed) for scenario in scenarios for seed in seeds for sender in senders]
    results = {(scenario, sender): [] for scenario in scenarios for sender in senders}
    slots = queue.SimpleQueue()
    for slot in range(options.jobs):
        slots.put(slot)

    def do(run):
        slot = slots.get()
        try:
            return run, run.do(options, links, slot)
        finally:
            slots.put(slot)

    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for place, (run, score) in enumerate(pool.map(do, runs), 1):
            results[run.scenario, run.sender].append(score)
            said = score.get('error') or f"util {score['util']:.3f}, queue p95 {score['qd_p95']:.0f} ms"
            print(f'{place}/{len(runs)} {run.scenario} {run.sender} seed {run.seed}: {said}', file=sys.stderr, flush=True)

    version = subprocess.run([options.binary, 'version'], stdout=subprocess.PIPE, text=True).stdout.strip()
    where = 'the link lab' if options.linklab else "the project's own links"
    load = '/'.join(f'{value:.1f}' for value in os.getloadavg())
    text = (f'{version}: {where}, latency {options.latency} ms, {MIN_KBPS} to {MAX_KBPS} kbit/s, '
            f'{"median of seeds" if len(seeds) > 1 else "seed"} {" ".join(map(str, seeds))}, '
            f'{options.jobs} at a time, {begun:%Y-%m-%d %H:%M}, load average in the end {load}; '
            f'constant is {options.constant} kbit/s, oracle knows the capacity in advance.\n\n')
    text += table(results, scenarios, senders)
    with open(f'{out}/scoreboard.md', 'w') as f:
        f.write(text)
    print(text)
    print(f'in {out}/scoreboard.md', file=sys.stderr)
    if any('error' in score for scores in results.values() for score in scores):
        sys.exit(1)


if __name__ == '__main__':
    main()

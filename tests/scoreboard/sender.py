#!/usr/bin/env python3
"""Runs the daemon as a sender of one scenario, and ends it in order when it is told to end itself.

`--constant` keeps the rate, `--plan FILE` follows the rates of a file of "seconds kbit/s" lines: each
is written into the configuration and loaded with SIGHUP. With neither, the daemon follows the link.
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import capacity

TEMPLATE = '''[api]
listen = "127.0.0.1:{api}"

[streams.main]
enabled = true

[streams.main.video]
source = "file"
path = {clip}
width = 640
height = 360
framerate = 30
encoder = "x264enc"

[streams.main.audio]
source = "none"

[streams.main.rate]
min_kbps = {min}
max_kbps = {max}
{rate}
[[streams.main.outputs]]
name = "link"
url = "srt://127.0.0.1:{port}"
latency_ms = {latency}
'''


class Sender:
    def __init__(self, options):
        self.options = options
        self.path = f'{options.dir}/uplinkd.toml'
        with socket.socket() as probe:
            probe.bind(('127.0.0.1', 0))
            self.api = probe.getsockname()[1]
        self.daemon = None

    def configure(self, kbps):
        """`None`: it follows the link."""
        o = self.options
        rate = '' if kbps is None else f'start_kbps = {kbps}\nadaptive = false\n'
        text = TEMPLATE.format(api=self.api, clip=json.dumps(o.clip), min=o.min_kbps, max=o.max_kbps, rate=rate,
                               port=o.port, latency=o.latency)
        with open(self.path + '.new', 'w') as f:
            f.write(text)
        os.replace(self.path + '.new', self.path)

    def run(self):
        o = self.options
        plan = capacity.read(o.plan) if o.plan else []
        self.configure(o.constant or (plan[0][1] if plan else None))
        # Of several runs at a time each keeps its own state: a daemon turns a second one away.
        state = {**os.environ, 'STATE_DIRECTORY': os.path.abspath(self.path + '.state')}
        self.daemon = subprocess.Popen([o.binary, 'run', '--config', self.path], env=state)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self.daemon.terminate())
        if plan:
            self.follow(plan[1:])
        return self.daemon.wait()

    def follow(self, plan):
        begun = self.connected()
        for at, kbps in plan:
            while (left := begun + at - time.monotonic()) > 0:
                try:
                    self.daemon.wait(left)
                    return
                except subprocess.TimeoutExpired:
                    pass
            self.configure(kbps)
            self.daemon.send_signal(signal.SIGHUP)

    def connected(self):
        """When the connection was made: a few round trips after the link's time began."""
        while self.daemon.poll() is None:
            try:
                with urllib.request.urlopen(f'http://127.0.0.1:{self.api}/v1/streams/main', timeout=1) as answer:
                    if any(output['connections'] for output in json.load(answer)['outputs']):
                        break
            except (urllib.error.URLError, TimeoutError):
                pass  # it is not ready yet
            time.sleep(0.02)
        return time.monotonic()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--binary', required=True)
    parser.add_argument('--dir', required=True)
    parser.add_argument('--clip', required=True)
    for name in ('port', 'latency', 'min-kbps', 'max-kbps'):
        parser.add_argument(f'--{name}', type=int, required=True)
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument('--constant', type=int, metavar='KBPS')
    kind.add_argument('--plan', metavar='FILE')
    return Sender(parser.parse_args()).run()


if __name__ == '__main__':
    sys.exit(main())

"""What the scoreboard computes by itself: `python3 -m unittest discover tests/scoreboard`."""

import unittest

import capacity
import scoreboard


class Capacity(unittest.TestCase):
    def test_a_spec(self):
        means = capacity.of_spec('rate=8M,delay=25ms,at=1s:rate=1500k,outage=2s+0.25s', 3)
        self.assertEqual(means, [8000, 8000, 1500, 1500, 750, 1500])

    def test_steps_repeat(self):
        means = capacity.mean_of_steps([(0, 1000), (0.75, 3000)], 1, 2, offset=0.5)
        self.assertEqual(means, [2000, 1000, 2000, 1000])

    def test_opportunities_repeat(self):
        # 3 packets in 0.5 s, 1 in the next: 72 and 24 kbit/s.
        means = capacity.mean_of_opportunities([0.1, 0.2, 0.3, 0.9, 1.0], 2)
        self.assertEqual(means, [72, 24, 96, 24])

    def test_a_plan_falls_early_and_never_rises_early(self):
        plan = capacity.plan([8000, 8000, 2000, 2000, 8000, 0], 500, 6000)
        self.assertEqual(plan, [(0, 6000), (0.5, 1860), (2.0, 500)])

    def test_the_ramp_is_one(self):
        means = capacity.of_spec(*scoreboard.SYNTHETIC['ramp'])
        self.assertEqual((means[0], min(means), means[160], means[-1]), (7000, 1000, 7000, 2650))


class Table(unittest.TestCase):
    def score(self, util, **more):
        return {'util': util, 'qd_p50': 10, 'qd_p95': 100, 'lost_pct': 0, 'late_pct': 0, 'freeze_s': 1} | more

    def test_medians_of_seeds_and_a_mean(self):
        events = [{'t': 40, 'react_s': 0.5}, {'t': 80, 'refill_s': 3.0}]
        results = {
            ('a', 'uplinkd'): [self.score(0.9), self.score(0.8), self.score(0.1)],
            ('b', 'uplinkd'): [self.score(1.0, events=events)],
        }
        lines = scoreboard.table(results, ['a', 'b'], ['uplinkd']).splitlines()
        self.assertEqual(lines[2], '| a | uplinkd | 0.800 | 10 / 100 | 0.00 | 0.00 | 1.00 |  |')
        self.assertEqual(lines[3], '| b | uplinkd | 1.000 | 10 / 100 | 0.00 | 0.00 | 1.00 | 0.5 / 3.0 |')
        self.assertEqual(lines[4], '| **mean** | uplinkd | 0.900 | 10 / 100 | 0.00 | 0.00 | 1.00 | 0.5 / 3.0 |')

    def test_a_run_without_a_stream_is_not_averaged(self):
        results = {('a', 'uplinkd'): [{'error': 'no stream'}], ('b', 'uplinkd'): [self.score(0.5)]}
        lines = scoreboard.table(results, ['a', 'b'], ['uplinkd']).splitlines()
        self.assertIn('no stream', lines[2])
        self.assertTrue(lines[4].startswith('| **mean** (without 1) | uplinkd | 0.500 |'))

    def test_a_refill_that_never_came_is_no_figure(self):
        scores = [self.score(1, events=[{'refill_s': 2.0}]), self.score(1, events=[{'refill_s': None}])]
        self.assertIsNone(scoreboard.event_median(scores, 'refill_s'))


if __name__ == '__main__':
    unittest.main()

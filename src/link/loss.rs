//! Random loss: independent, or in bursts.

use rand::RngCore;
use rand_pcg::Pcg32;

/// How packets are lost behind the bottleneck. Every probability lies in 0..=1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Loss {
    #[default]
    None,
    /// Each packet alone.
    Random { probability: f64 },
    /// Gilbert–Elliott: two states with a loss probability each, changed at most once a packet
    /// (E. O. Elliott, "Estimates of error rates for codes on burst-noise channels", BSTJ 1963).
    Bursts { good_to_bad: f64, bad_to_good: f64, in_good: f64, in_bad: f64 },
}

impl Loss {
    /// The share of packets lost in the long run.
    pub fn mean(self) -> f64 {
        match self {
            Loss::None => 0.0,
            Loss::Random { probability } => probability,
            Loss::Bursts { good_to_bad: 0.0, in_good, .. } => in_good,
            Loss::Bursts { good_to_bad, bad_to_good, in_good, in_bad } => {
                let share_bad = good_to_bad / (good_to_bad + bad_to_good);
                share_bad * in_bad + (1.0 - share_bad) * in_good
            }
        }
    }
}

/// A [`Loss`] at work: its generator, and the state of the burst model (which starts in good).
#[derive(Clone, Debug)]
pub(super) struct LossProcess {
    model: Loss,
    bad: bool,
    random: Pcg32,
}

impl LossProcess {
    pub fn new(model: Loss, seed: u64) -> Self {
        LossProcess { model, bad: false, random: Pcg32::new(seed, LOSS_STREAM) }
    }

    /// Whether the next packet is lost.
    pub fn strikes(&mut self) -> bool {
        match self.model {
            Loss::None => false,
            Loss::Random { probability } => unit(&mut self.random) < probability,
            Loss::Bursts { good_to_bad, bad_to_good, in_good, in_bad } => {
                let turn = unit(&mut self.random);
                self.bad = if self.bad { turn >= bad_to_good } else { turn < good_to_bad };
                unit(&mut self.random) < if self.bad { in_bad } else { in_good }
            }
        }
    }
}

/// Extra delay, uniform from 0 to a limit.
#[derive(Clone, Debug)]
pub(super) struct Jitter {
    limit_ns: u64,
    random: Pcg32,
}

impl Jitter {
    pub fn new(limit_ns: u64, seed: u64) -> Self {
        Jitter { limit_ns, random: Pcg32::new(seed, JITTER_STREAM) }
    }

    pub fn draw_ns(&mut self) -> u64 {
        match self.limit_ns {
            0 => 0,
            limit => (unit(&mut self.random) * limit as f64) as u64,
        }
    }
}

/// Uniform in [0, 1), from 32 bits: the same value on every machine.
fn unit(random: &mut Pcg32) -> f64 {
    f64::from(random.next_u32()) / 4_294_967_296.0
}

/// PCG streams: loss and jitter draw from sequences of their own, so that switching one on does not
/// change the other.
const LOSS_STREAM: u64 = 1;
const JITTER_STREAM: u64 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(model: Loss, seed: u64, packets: usize) -> Vec<bool> {
        let mut process = LossProcess::new(model, seed);
        (0..packets).map(|_| process.strikes()).collect()
    }

    fn share(pattern: &[bool]) -> f64 {
        pattern.iter().filter(|lost| **lost).count() as f64 / pattern.len() as f64
    }

    #[test]
    fn independent_loss_has_the_share_asked_for() {
        for probability in [0.0, 0.02, 0.5, 1.0] {
            let share = share(&pattern(Loss::Random { probability }, 7, 100_000));
            // Four standard deviations of a binomial share.
            let bound = 4.0 * (probability * (1.0 - probability) / 100_000.0_f64).sqrt();
            assert!((share - probability).abs() <= bound, "{probability}: {share}");
        }
    }

    #[test]
    fn bursts_have_the_mean_and_the_length_of_the_model() {
        let model = Loss::Bursts { good_to_bad: 0.004, bad_to_good: 0.15, in_good: 0.0, in_bad: 1.0 };
        let lost = pattern(model, 3, 1_000_000);
        assert!((share(&lost) - model.mean()).abs() < 0.003, "{} against {}", share(&lost), model.mean());
        // Every packet of the bad state is lost, so runs of losses last 1 / P(bad→good) packets.
        let bursts = lost.windows(2).filter(|pair| !pair[0] && pair[1]).count();
        let mean_length = lost.iter().filter(|lost| **lost).count() as f64 / bursts as f64;
        assert!((mean_length - 1.0 / 0.15).abs() < 0.4, "{mean_length}");
    }

    #[test]
    fn a_burst_model_that_never_turns_bad_is_independent_loss() {
        let model = Loss::Bursts { good_to_bad: 0.0, bad_to_good: 0.0, in_good: 0.1, in_bad: 1.0 };
        assert_eq!(model.mean(), 0.1);
        assert!((share(&pattern(model, 1, 100_000)) - 0.1).abs() < 0.005);
    }

    #[test]
    fn a_seed_is_a_pattern() {
        let model = Loss::Random { probability: 0.1 };
        assert_eq!(pattern(model, 7, 1000), pattern(model, 7, 1000));
        assert_ne!(pattern(model, 7, 1000), pattern(model, 8, 1000));
    }

    #[test]
    fn jitter_stays_below_its_limit() {
        let mut jitter = Jitter::new(10_000_000, 1);
        let draws: Vec<u64> = (0..10_000).map(|_| jitter.draw_ns()).collect();
        assert!(draws.iter().all(|ns| *ns < 10_000_000));
        let mean = draws.iter().sum::<u64>() as f64 / draws.len() as f64;
        assert!((mean - 5e6).abs() < 1.5e5, "{mean}");
    }
}

//! Which pictures are left out before the encoder, when it is to have only a share of them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Leaves out a share of the pictures, spread evenly: a half is each second one, whatever the past. Asked on
/// one thread at a time, told on any.
#[derive(Debug, Default)]
pub(super) struct Thinning {
    /// An `f64`, 0 to 1.
    share: AtomicU64,
    /// What was to be left out and was not yet: an `f64`, below 1.
    debt: AtomicU64,
    let_next_through: AtomicBool,
}

impl Thinning {
    /// The share to leave out from now on, 0 to 1; what is beyond is brought within.
    pub(super) fn set_share(&self, share: f64) {
        let share = if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) };
        self.share.store(share.to_bits(), Ordering::Relaxed);
    }

    /// Lets the next picture through in any case.
    pub(super) fn let_next_through(&self) {
        self.let_next_through.store(true, Ordering::Relaxed);
    }

    /// Whether this picture, the next in order, is left out.
    pub(super) fn leaves_out(&self) -> bool {
        let share = f64::from_bits(self.share.load(Ordering::Relaxed));
        let is_wanted = self.let_next_through.swap(false, Ordering::Relaxed);
        if share == 0.0 {
            self.debt.store(0.0f64.to_bits(), Ordering::Relaxed);
            return false;
        }
        let debt = f64::from_bits(self.debt.load(Ordering::Relaxed)) + share;
        let leaves_out = debt >= 1.0 - ROUNDING && !is_wanted;
        // One that is let through against the rule is made good by the one after it, and no more than one.
        let debt = if leaves_out { debt - 1.0 } else { debt };
        self.debt.store(debt.clamp(0.0, 1.0).to_bits(), Ordering::Relaxed);
        leaves_out
    }
}

/// Sums of shares such as 0.1 miss 1 by less than this.
const ROUNDING: f64 = 1e-9;

#[cfg(test)]
mod tests {
    use super::*;

    fn left_out(thinning: &Thinning, pictures: usize) -> Vec<bool> {
        std::iter::repeat_with(|| thinning.leaves_out()).take(pictures).collect()
    }

    #[test]
    fn the_share_is_left_out_and_spread_evenly() {
        for (share, of) in
            [(0.0, 0), (0.1, 10), (1.0 / 3.0, 33), (0.5, 50), (0.75, 75), (0.9, 90), (1.0, 100)]
        {
            let thinning = Thinning::default();
            thinning.set_share(share);
            let out = left_out(&thinning, 100);
            assert_eq!(out.iter().filter(|out| **out).count(), of, "{share}");
            let longest = out.split(|out| !out).map(<[bool]>::len).max().unwrap();
            let fair = if share < 1.0 { (share / (1.0 - share)).ceil() as usize } else { 100 };
            assert!(longest <= fair, "{share}: {longest} in a row");
        }
    }

    #[test]
    fn a_wanted_picture_goes_through_and_only_that_one() {
        let thinning = Thinning::default();
        thinning.set_share(1.0);
        assert!(thinning.leaves_out());
        thinning.let_next_through();
        assert_eq!(left_out(&thinning, 4), [false, true, true, true]);
        thinning.set_share(0.0);
        assert_eq!(left_out(&thinning, 3), [false, false, false], "no debt stays behind");
    }

    #[test]
    fn nonsense_is_brought_within() {
        let thinning = Thinning::default();
        for (share, out) in [(f64::NAN, false), (-1.0, false), (7.0, true), (f64::INFINITY, true)] {
            thinning.set_share(share);
            assert_eq!(left_out(&thinning, 2), [out, out], "{share}");
        }
    }
}

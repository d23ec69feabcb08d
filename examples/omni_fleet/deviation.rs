//! By how much a number is off.

use std::fmt;

/// All values of one number, against what really happened.
#[derive(Debug, Clone)]
pub struct Deviation {
    /// The number.
    pub number: &'static str,
    /// By how much each value is off, in nanoseconds.
    off: Vec<u64>,
}

impl Deviation {
    pub(crate) fn of(number: &'static str) -> Self {
        Self { number, off: Vec::new() }
    }

    pub(crate) fn add(&mut self, off: u64) {
        self.off.push(off);
    }

    /// Sorts the values, before [`quantile`](Self::quantile) and [`Display`](fmt::Display).
    pub(crate) fn complete(&mut self) {
        self.off.sort_unstable();
    }

    /// How many values were compared.
    pub fn compared(&self) -> usize {
        self.off.len()
    }

    /// By how much the value at this rank of 1,000 is off, in nanoseconds.
    pub fn quantile(&self, permille: usize) -> u64 {
        let rank = (self.off.len() * permille).div_ceil(1_000);
        self.off.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }

    /// By how much the worst value is off, in nanoseconds.
    pub fn most(&self) -> u64 {
        self.quantile(1_000)
    }
}

impl fmt::Display for Deviation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = self.off.partition_point(|off| *off == 0);
        let ms = |permille| self.quantile(permille) as f64 / 1e6;
        write!(
            f,
            "| {} | {} | {exact} | {:.3} | {:.3} | {:.3} |",
            self.number,
            self.compared(),
            ms(500),
            ms(990),
            ms(1_000)
        )
    }
}

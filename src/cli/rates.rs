//! The rates by which processes sample their lines.

use std::{collections::BTreeSet, fmt};

use crate::model::keep::chooses;

/// How many rates are told apart. A fleet has one or two.
const MOST: usize = 16;

/// The rates of some lines.
#[derive(Debug, Default, Clone)]
pub(super) struct Rates(BTreeSet<u32>);

impl Rates {
    /// Notes the rate of a line. One of 0 leaves out no line, as one of 1.
    pub(super) fn note(&mut self, rate: Option<u32>) {
        if let Some(rate) = rate
            && self.0.len() < MOST
        {
            self.0.insert(rate.max(1));
        }
    }

    /// Whether processes with these rates, if there are any, leave out the ids with this
    /// [hash](crate::model::keep::hash).
    pub(super) fn leave_out(&self, hash: u64) -> bool {
        !self.0.is_empty() && !self.0.iter().any(|rate| chooses(hash, *rate))
    }
}

impl fmt::Display for Rates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rates: Vec<_> = self.0.iter().map(|rate| format!("1 in {rate}")).collect();
        f.write_str(&rates.join(" or "))
    }
}

//! How many requests have each finish reason, in constant memory.

use std::collections::BTreeMap;

/// How many reasons are told apart.
const LIMIT: usize = 64;
/// The name of an absent reason, and of those that are not told apart, as in the exported metrics.
const NONE: &str = "none";
const OTHER: &str = "other";

/// The number of requests by finish reason. There are few reasons, and most requests have the first one.
#[derive(Debug, Default)]
pub(crate) struct Reasons {
    counts: Vec<(Box<str>, u64)>,
    rest: u64,
}

impl Reasons {
    #[inline]
    pub(crate) fn add(&mut self, reason: Option<&str>, requests: u64) {
        let reason = reason.unwrap_or(NONE);
        match self.counts.iter_mut().find(|(known, _)| **known == *reason) {
            Some((_, count)) => *count += requests,
            None => self.add_new(reason, requests),
        }
    }

    #[cold]
    fn add_new(&mut self, reason: &str, requests: u64) {
        if self.counts.len() < LIMIT {
            self.counts.push((reason.into(), requests));
        } else {
            self.rest += requests;
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        other.counts.iter().for_each(|(reason, count)| self.add(Some(reason), *count));
        self.rest += other.rest;
    }

    pub(crate) fn clear(&mut self) {
        self.counts.clear();
        self.rest = 0;
    }

    pub(crate) fn by_name(&self) -> BTreeMap<String, u64> {
        let mut named: BTreeMap<_, _> =
            self.counts.iter().map(|(reason, count)| (String::from(&**reason), *count)).collect();
        if self.rest > 0 {
            *named.entry(OTHER.to_owned()).or_default() += self.rest;
        }
        named
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_the_first_reasons_has_its_count_and_the_rest_has_one_together() {
        let (mut whole, mut part) = (Reasons::default(), Reasons::default());
        part.add(None, 2);
        (0..100).for_each(|n| part.add(Some(&format!("reason {n}")), n));
        whole.add(Some("none"), 1);
        whole.merge(&part);
        let named = whole.by_name();
        assert_eq!((named.len(), named["none"], named["reason 7"]), (LIMIT + 1, 3, 7));
        assert_eq!(named.values().sum::<u64>(), 3 + 99 * 100 / 2);
        assert_eq!(named["other"], (63..100).sum::<u64>());
        whole.clear();
        assert_eq!(whole.by_name(), BTreeMap::new());
    }
}

//! What the keys do.

/// The last line of the screen: as many keys as there is room for.
pub(super) fn footer(width: u16) -> String {
    const KEYS: [&str; 8] =
        ["? help", "q quit", "space pause", "s sort", "f failed", "t tables", "Enter open", "+- period"];
    let mut footer = String::new();
    for key in KEYS {
        let gap = if footer.is_empty() { "" } else { "  " };
        if footer.len() + gap.len() + key.len() > usize::from(width) {
            break;
        }
        footer.push_str(gap);
        footer.push_str(key);
    }
    footer
}

/// The page of help.
pub(super) const GUIDE: &str = "\
Keys
  space       pause and go on; the log is read meanwhile
  + -         longer or shorter period: 30s, 1m, 5m, the whole log
  s           order of the requests: e2e, time_ms, ended, id
  f           only failed requests, or all
  t           all rows of the tables, in place of the chart and the requests
  j k, arrows select a request; PgUp, PgDn: ten at once; g, Home: the first one
  Enter       open the request: where its time went, and its tables
  Esc         back
  q, Ctrl-C   quit

Figures are of the period; times are in ms. Rates are by the seconds that were
seen: fewer than the period if the log is younger.
Requests: the slowest of each second, at most 8 that failed and 8 others; of the
whole log, 100 each. \"mostly\" is the part with most of the time, and time_ms
its time. For a request that a report names as open, e2e is its age, and
\"mostly\" the stage that it is in, with the time there.
Failed: finish_reason is neither stop nor length, or there are errors.
A line of a sampled log counts for all requests that it stands for.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_keys_fit_into_80_columns_and_help_always_does() {
        assert!(footer(80).ends_with("Enter open  +- period"), "{}", footer(80));
        assert_eq!(
            (footer(20).as_str(), footer(6).as_str(), footer(5).as_str()),
            ("? help  q quit", "? help", "")
        );
        assert!(GUIDE.lines().count() <= 23 && GUIDE.lines().all(|line| line.chars().count() <= 80));
    }
}

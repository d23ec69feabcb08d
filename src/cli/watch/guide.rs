//! What the keys do.

/// The last line of the screen: as many keys as there is room for.
pub(super) fn footer(width: u16, has_groups: bool) -> String {
    // With all of them, the line would be wider than 80 columns.
    let of_groups = if has_groups { "g groups" } else { "s sort" };
    let keys =
        ["? help", "q quit", "space pause", of_groups, "f failed", "t tables", "Enter open", "+- period"];
    let mut footer = String::new();
    for key in keys {
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
  g           with --by: groups in place of the times of stages, and back
  j k, arrows select a request; PgUp, PgDn: ten at once; Home: the first one
  Enter       open the request: where its time went, and its tables
  Esc         back
  q, Ctrl-C   quit

Figures are of the period; times are in ms. Rates are by the seconds that were
seen: fewer than the period if the log is younger.
Requests: the slowest of each second, at most 8 that failed and 8 others; of the
whole log, 100 each. \"mostly\" is the part with most of the time, and time_ms
its time. For a request that a report names as open, e2e is its age, and
\"mostly\" the stage that it is in, with the time there.
Queue: from the creation of a stage's span until it begins; 0 if both are one.
Groups: at most 256, in the order of their names; the others are one, `others`.
Failed: finish_reason is neither stop nor length, or there are errors.
A line of a sampled log counts for all requests that it stands for.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_keys_fit_into_80_columns_and_help_always_does() {
        for has_groups in [false, true] {
            let keys = footer(80, has_groups);
            assert!(keys.ends_with("Enter open  +- period"), "{keys}");
            assert_eq!(keys.contains("g groups"), has_groups);
        }
        assert_eq!(
            (&*footer(20, false), &*footer(6, false), &*footer(5, false)),
            ("? help  q quit", "? help", "")
        );
        assert!(GUIDE.lines().count() <= 23 && GUIDE.lines().all(|line| line.chars().count() <= 80));
    }
}

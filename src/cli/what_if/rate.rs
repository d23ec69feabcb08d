//! How many requests a second a run has.

use serde::{Serialize, Serializer};

use super::{covered::Covered, period::Period};
use crate::{cli::ratio::as_change, fold::totals::per_second, write::columns::grouped};

/// From this difference on, what the last requests of a run do to its rate is told.
const NOTABLE: f64 = 0.05;

/// The requests that ended until the end of the [`Period`], or of the selection, by the time until then.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rate {
    pub(super) per_s: f64,
    /// The rate of all requests until the last one ended.
    of_all: f64,
    /// How many requests ended later, and by how many nanoseconds at most.
    late: u64,
    delay: u64,
}

impl Rate {
    /// The rate of requests that end at these moments, the first of which was created at `first`.
    pub(super) fn of(ends: &[u64], first: u64, period: Period, covered: Covered) -> Self {
        let last = ends.iter().max().copied().unwrap_or(first);
        let until = |end: u64| covered.until(end.saturating_sub(first));
        let (counted_until, all_until) = (until(period.end().min(last)), until(last));
        let late = ends.iter().filter(|end| end.saturating_sub(first) > counted_until).count() as u64;
        let all = ends.len() as u64;
        Self {
            per_s: per_second(all - late, covered.nanos(counted_until)),
            of_all: per_second(all, covered.nanos(all_until)),
            late,
            delay: all_until - counted_until,
        }
    }

    /// Which requests the rates of the log, the replay and the prediction leave out, if that changes one
    /// notably.
    pub(super) fn remark([logged, replayed, predicted]: [Self; 3]) -> Option<String> {
        let is_notable = |rate: &Self| rate.per_s > rate.of_all * (1.0 + NOTABLE);
        [logged, replayed, predicted].iter().any(is_notable).then(|| {
            format!(
                "Requests a second leave out the requests that end last, at most 1 %: {} of the log and {} \
                 of the prediction. With them, the log has {:.3} requests a second, and the prediction {:.3} \
                 ({} from the replay).",
                logged.left_out(),
                predicted.left_out(),
                logged.of_all,
                predicted.of_all,
                as_change(predicted.of_all / replayed.of_all),
            )
        })
    }

    fn left_out(self) -> String {
        let Self { late, delay, .. } = self;
        if late == 0 {
            return "none".to_owned();
        }
        let late = grouped(&late.to_string());
        format!("{late} (up to {:.1}\u{a0}s after the others)", delay as f64 / 1e9)
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.per_s)
    }
}

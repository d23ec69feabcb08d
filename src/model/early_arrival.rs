//! The warning of a message that was received before it was sent.

use crate::model::{id::Shown, kind::Kind, millis::Millis, warnings::Warnings};

type Edge = (Option<u64>, Option<u64>);

const RECEIVED: &str = "received before it was sent on edge ";
const REASON: &str = ": clock skew, or spans that overlap; counted as 0";

/// The warning of a message on this edge, which was received this many nanoseconds too early.
pub(crate) fn warning((from, to): Edge, nanos: u64) -> String {
    let (from, to) = (Shown(from), Shown(to));
    let value = format_args!("-{}", Millis::from_nanos(nanos)).to_string();
    let what = format!("{RECEIVED}{from} -> {to}{REASON}");
    Warnings::sentence(Kind::Transfer, "in_flight_time_ms", value, what)
}

/// How many nanoseconds too early the message was received, if this is such a warning of the edge.
#[cfg(feature = "cli")]
pub(crate) fn nanos(text: &str, (from, to): Edge) -> Option<u64> {
    let text = text.strip_prefix("span `transfer`, field `in_flight_time_ms`, value `-")?;
    let (value, what) = text.split_once("`: ")?;
    let (one, other) = what.strip_prefix(RECEIVED)?.strip_suffix(REASON)?.split_once(" -> ")?;
    let is_of_edge = Shown::read(one)? == from && Shown::read(other)? == to;
    Millis::from_f64(value.parse().ok()?).filter(|_| is_of_edge).map(Millis::as_nanos)
}

#[cfg(all(test, feature = "cli"))]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_read_from_a_warning_of_the_edge_alone() {
        let text = warning((Some(3), None), 207_931_189);
        assert_eq!(nanos(&text, (Some(3), None)), Some(207_931_189), "{text}");
        assert_eq!(nanos(&text, (Some(3), Some(0))), None);
        assert_eq!(nanos("", (Some(3), None)), None);
        assert_eq!(nanos(&text.replace("transfer", "stage"), (Some(3), None)), None);
        let text = warning((None, Some(u64::MAX)), 1);
        assert_eq!(nanos(&text, (None, Some(u64::MAX))), Some(1), "{text}");
    }
}

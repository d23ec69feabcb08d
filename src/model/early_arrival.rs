//! The warning of a message that was received before it was sent.

use crate::model::{id::Shown, kind::Kind, millis::Millis, warnings::Warnings};

type Edge = (Option<u64>, Option<u64>);

/// The warning of a message on this edge, which was received this many nanoseconds too early.
pub(crate) fn warning((from, to): Edge, nanos: u64) -> String {
    let (from, to) = (Shown(from), Shown(to));
    let what = format!(
        "received before it was sent on edge {from} -> {to}: clock skew, or spans that overlap; counted as 0"
    );
    let value = format_args!("-{}", Millis::from_nanos(nanos)).to_string();
    Warnings::sentence(Kind::Transfer, "in_flight_time_ms", value, what)
}

/// How many nanoseconds too early the message was received, if this is such a warning of the edge.
#[cfg(feature = "cli")]
pub(crate) fn nanos(text: &str, edge: Edge) -> Option<u64> {
    let value = text.split('`').nth(5)?.strip_prefix('-')?.parse().ok()?;
    let nanos = Millis::from_f64(value)?.as_nanos();
    (text == warning(edge, nanos)).then_some(nanos)
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
    }
}

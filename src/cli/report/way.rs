//! What stages did while a request waited for them, as the page has it.

use serde::Serialize;

use crate::{Millis, cli::in_the_way::Meanwhile, model::value::prefix};

/// How long a text is.
const TEXT: usize = 200;

/// The stage and the batch; how long the request was there, and for how much of this time the stage worked
/// for others; how many others there were, and those for which it worked longest; and the log of its process.
#[derive(Serialize)]
struct Way<'a>(Option<u64>, Option<u64>, Millis, Millis, u64, Vec<(&'a str, Millis)>, Option<&'a str>);

/// The stages that worked for others, as text that may stand within a `script` element; empty if there are
/// none.
pub(super) fn to_json(meanwhile: &[Meanwhile]) -> String {
    let others = meanwhile.iter().filter(|meanwhile| meanwhile.others > 0).map(|meanwhile| {
        let Meanwhile { stage_id, batch_id, log_file, time_ms, others_time_ms, others, named } = meanwhile;
        let log_file = log_file.as_deref().map(|name| prefix(name, TEXT));
        let named = named.iter().map(|other| (prefix(&other.request_id, TEXT), other.time_ms));
        Way(*stage_id, *batch_id, *time_ms, *others_time_ms, *others, named.collect(), log_file)
    });
    let others: Vec<_> = others.collect();
    if others.is_empty() {
        return String::new();
    }
    // Numbers and strings go into a `String` without an error.
    serde_json::to_string(&others).unwrap_or_default().replace('<', "\\u003c")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::in_the_way::Other;

    #[test]
    fn only_stages_that_worked_for_others_are_there() {
        let time_ms = Millis::from_nanos(1_500_000);
        let alone = Meanwhile {
            stage_id: Some(1),
            batch_id: None,
            log_file: None,
            time_ms,
            others_time_ms: Millis::ZERO,
            others: 0,
            named: Vec::new(),
        };
        assert_eq!(to_json(std::slice::from_ref(&alone)), "");
        let other = Other { time_ms, request_id: "<r".to_owned(), batch_id: None };
        let busy = Meanwhile {
            stage_id: Some(2),
            others_time_ms: time_ms,
            others: 3,
            log_file: Some("a.log".to_owned()),
            named: vec![other],
            ..alone.clone()
        };
        assert_eq!(to_json(&[alone, busy]), r#"[[2,null,1.5,1.5,3,[["\u003cr",1.5]],"a.log"]]"#);
    }
}

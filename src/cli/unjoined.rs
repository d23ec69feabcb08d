//! Logs whose lines need `join` before the figures of their requests are right.

use super::amount::amount;

/// The command that puts rows of workers into their requests.
pub(super) const JOIN: &str = "`omni-metrics join --align-clocks LOGS > joined.jsonl`";

/// What a command says first if this many [rows of workers](super::line_counts::LineCounts::rows_of_workers)
/// are in no request; another text if no line is of a request.
pub(super) fn unjoined(rows_of_workers: u64, has_requests: bool) -> String {
    let rows = amount(rows_of_workers, "row of a worker is", "rows of workers are");
    let so = match has_requests {
        true => format!(
            ". So requests lack stages, the time in these shows as waiting or unattributed, and transfers \
             from another process count the difference of the clocks as time in flight. {JOIN} puts the rows \
             into their requests; its output has the right figures."
        ),
        false => format!(
            ", and no line that was read is of a request, so there are no figures of requests. {JOIN} puts \
             the rows into their requests; LOGS must include the logs with the lines of these."
        ),
    };
    format!(
        "Not joined: {rows} in no request{so} `summary --by stage_name,file` has the times of the rows \
         without it."
    )
}

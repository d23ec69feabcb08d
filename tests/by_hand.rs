//! The line written by hand, which the benchmark compares with, is the layer's line.

#[path = "../benches/workload/mod.rs"]
#[allow(dead_code, reason = "the benchmark uses the rest")]
mod workload;

mod support;

use support::Rig;

/// The line with every number that a clock gave replaced by `#`.
fn without_clock(line: &str) -> String {
    let measured = [
        "timestamp",
        "e2e_wall_time_ms",
        "e2e_avg_time_per_request_ms",
        "e2e_avg_tokens_per_s",
        "e2e_total_ms",
        "queue_time_ms",
        "unattributed_time_ms",
        "busy_time_ms",
        "start_ms",
    ];
    let mut text = line.to_owned();
    for key in measured {
        let quoted = format!("\"{key}\":");
        let mut pieces = text.split(&quoted);
        let mut replaced = pieces.next().unwrap().to_owned();
        for piece in pieces {
            let end = piece.find([',', '}']).unwrap();
            replaced += &format!("\"{key}\":#{}", &piece[end..]);
        }
        text = replaced;
    }
    let walls = text.find("\"stage_wall_time_ms\":[").unwrap();
    let end = walls + text[walls..].find(']').unwrap();
    let count = text[walls..end].matches(',').count();
    format!("{}#{count}{}", &text[..walls], &text[end..])
}

#[test]
fn the_line_by_hand_is_the_layers_line_but_for_the_clock() {
    let rig = Rig::new();
    rig.run(|_| workload::spans("r1"));
    let mut by_hand = Vec::new();
    workload::ByHand::default().request("r1", &mut by_hand).unwrap();
    let by_hand = String::from_utf8(by_hand).unwrap();
    assert_eq!(without_clock(&rig.log.text()), without_clock(&by_hand));
}

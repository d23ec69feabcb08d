//! Section 5, last part: the same data as text tables, one write each.

mod support;

use std::time::Duration;

use omni_metrics::Format;
use support::Rig;
use tracing::info_span;

fn rig() -> Rig {
    Rig::with(|layer| layer.with_format(Format::Table))
}

/// The request of vLLM-Omni's page, with what it recorded.
fn example(rig: &Rig) {
    let request = info_span!("request", request_id = "r1", finish_reason = "stop").entered();
    let stages = [
        ("thinker", 38, 4860, 67, 9910.007, 0, 9_910_007),
        ("talker", 274, 4826, 275, 30_379.198, 0, 30_379_198),
        ("code2wav", 0, 4384, 0, 160.745, 525_525, 160_745),
    ];
    for (stage_id, (stage_name, batch_id, tokens_in, tokens_out, gen_time, frames, micros)) in
        (0_u64..).zip(stages)
    {
        info_span!(
            "stage",
            stage_id,
            stage_name,
            batch_id,
            batch_size = 1,
            num_tokens_in = tokens_in,
            num_tokens_out = tokens_out,
            stage_gen_time_ms = gen_time,
            audio_generated_frames = frames
        )
        .in_scope(|| rig.time.advance(Duration::from_micros(micros)));
    }
    for (from_stage, size_bytes, tx, rx, in_flight) in
        [(0, 111_900_005, 78.701, 111.865, 2.015), (1, 29_504_093, 18.79, 31.706, 2.819)]
    {
        info_span!(
            "transfer",
            from_stage,
            to_stage = from_stage + 1,
            size_bytes,
            tx_time_ms = tx,
            rx_decode_time_ms = rx,
            in_flight_time_ms = in_flight
        )
        .in_scope(|| ());
    }
    drop(request);
}

#[test]
fn the_four_tables_are_these() {
    let rig = rig();
    let _default = rig.install();
    example(&rig);
    let expected = include_str!("data/tables.txt");
    assert_eq!(rig.log.text(), expected, "{}", rig.log.text());
    assert_eq!(rig.log.writes().len(), 1, "one write a request");
}

#[test]
fn numbers_are_right_aligned_and_rows_of_zeros_left_out() {
    let rig = rig();
    let _default = rig.install();
    {
        let _request = info_span!("request", request_id = "r").entered();
        info_span!("stage", stage_id = 0, num_tokens_in = 0, batch_id = 0).in_scope(|| rig.wait_ms(1));
        info_span!("stage", stage_id = 1, num_tokens_in = 1_234_567).in_scope(|| rig.wait_ms(1));
    }
    let text = rig.log.text();
    assert!(text.contains("| num_tokens_in     |     0 | 1,234,567 |"), "{text}");
    assert!(text.contains("| stage_gen_time_ms | 1.000 |     1.000 |"), "{text}");
    for absent in
        ["batch_id", "preprocess_time_ms", "transfers_total", "TransferEdgeStats", "first_output_ms"]
    {
        assert!(!text.contains(absent), "{absent}: {text}");
    }
}

#[test]
fn no_text_of_a_span_reaches_a_terminal_raw() {
    let rig = rig();
    let _default = rig.install();
    {
        let evil = "a\u{1b}[31mb\nc\u{202e}d|e";
        let _request = info_span!("request", request_id = evil, finish_reason = evil, user = evil).entered();
        info_span!("stage", stage_id = "no\u{7} number", stage_name = evil, note = evil).in_scope(|| ());
    }
    info_span!("stage", stage_id = 1, request_id = "gone\u{9b}2J").in_scope(|| ());
    let text = rig.log.text();
    let raw = |c: char| c != '\n' && (c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c));
    assert!(!text.contains(raw), "{text:?}");
    assert!(text.contains("a\\u{1b}[31mb\\nc\\u{202e}d"), "{text}");
    assert!(text.contains("warning: "), "{text}");
    assert!(text.contains("StageRequestStats of gone\\u{9b}2J, detached"), "{text}");
}

#[test]
fn a_line_that_was_read_back_prints_the_same_tables() {
    let json = Rig::new();
    {
        let _default = json.install();
        example(&json);
    }
    let line: omni_metrics::Line = json.log.text().trim_end().parse().unwrap();
    assert_eq!(line.to_string(), include_str!("data/tables.txt"));
}

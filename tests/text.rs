//! Any text in any field yields one line that parses and says the same.

mod support;

use proptest::prelude::*;
use serde_json::Value;
use support::line;
use tracing::info_span;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_in_any_field_yields_one_parseable_line(
        id in any::<String>(), name in any::<String>(), further in any::<String>(), number in any::<String>(),
        reason in any::<String>(), phase in any::<String>(),
    ) {
        let line = line(|_| {
            let _request = info_span!("request", request_id = id, finish_reason = reason, further).entered();
            drop(info_span!("stage", stage_id = number, stage_name = name, num_tokens_out = number, first_output = name));
            drop(info_span!("stage", stage_id = 1, stage_name = ?name, further = ?further, batch_id = %number));
            drop(info_span!("transfer", from_stage = number, to_stage = 1, phase, request_id = id, further));
        });
        prop_assert_eq!(line["e2e_table"]["finish_reason"].as_str(), Some(&*reason));
        prop_assert_eq!(line["request_id"].as_str(), Some(&*id));
        prop_assert_eq!(line["fields"]["further"].as_str(), Some(&*further));
        let events = line["stage_table"].as_array().unwrap().iter().map(|row| row["events"].as_u64().unwrap());
        prop_assert_eq!(events.sum::<u64>(), 2);
        prop_assert_eq!(&line["transfer_table"][0]["events"], &Value::from(1));
    }

    #[test]
    fn any_number_in_any_field_keeps_the_invariants(
        counts in prop::collection::vec(prop_oneof![any::<u64>(), 0_u64..10], 6),
        times in prop::collection::vec(any::<f64>(), 5), wait in 0_u64..1_000,
    ) {
        let text = line(|rig| {
            let _request = info_span!("request", request_id = "r").entered();
            let stage = info_span!(
                "stage", stage_id = counts[0], batch_id = counts[1], num_tokens_in = counts[2], num_tokens_out = counts[3],
                preprocess_time_ms = times[0], stage_gen_time_ms = times[1],
            );
            stage.in_scope(|| rig.wait_ms(wait));
            drop(info_span!(
                "transfer", from_stage = counts[4], to_stage = 1, size_bytes = counts[5], tx_time_ms = times[2],
                rx_decode_time_ms = times[3], in_flight_time_ms = times[4],
            ));
        }).to_string();
        prop_assert!(!text.contains("NaN") && !text.contains("inf"));
        let Ok(omni_metrics::Line::Request(line)) = text.parse() else { panic!("{text}") };
        let e2e = &line.e2e_table;
        prop_assert!(e2e.unattributed_time_ms <= e2e.e2e_total_ms);
        prop_assert_eq!(e2e.transfers_total_time_ms, line.transfer_table[0].total_time_ms);
        prop_assert_eq!(e2e.transfers_total_bytes, counts[5]);
        let tokens_in = if counts[0] == 0 { counts[2] } else { 0 };
        prop_assert_eq!(e2e.e2e_total_tokens, tokens_in.saturating_add(counts[3]));
    }
}

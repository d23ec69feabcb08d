//! The distributions in the handle's snapshot and in the summary line.

mod support;

use omni_metrics::{Distribution, Format, Line, Millis};
use support::Rig;
use tracing::info_span;

/// Requests of 1 to `count` ms, with a stage of half of that.
fn requests(rig: &Rig, count: u64) {
    for millis in 1..=count {
        let _request = info_span!("request", request_id = millis).entered();
        let stage = info_span!("stage", stage_id = 0, num_tokens_out = 11, first_output = true);
        stage.in_scope(|| rig.time.advance(std::time::Duration::from_micros(millis * 500)));
        info_span!("transfer", from_stage = 0, to_stage = 1)
            .in_scope(|| rig.time.advance(std::time::Duration::from_micros(millis * 250)));
        rig.time.advance(std::time::Duration::from_micros(millis * 250));
    }
}

fn assert_near(found: Distribution<Millis>, exact: Distribution<Millis>) {
    assert_eq!(found.count, exact.count);
    let pairs = [
        (found.mean, exact.mean),
        (found.p50, exact.p50),
        (found.p90, exact.p90),
        (found.p99, exact.p99),
        (found.p999, exact.p999),
        (found.max, exact.max),
    ];
    for (found, exact) in pairs {
        assert!((found.as_f64() - exact.as_f64()).abs() <= exact.as_f64() / 100.0, "{found} {exact}");
    }
}

/// The distribution of 1 to 1,000 times `micros`.
fn even(micros: f64) -> Distribution<Millis> {
    let at = |part: f64| Millis::from_f64(part * micros / 1e3).unwrap();
    let json = serde_json::json!({
        "count": 1000, "mean": at(500.5), "p50": at(500.0), "p90": at(900.0), "p99": at(990.0),
        "p999": at(999.0), "max": at(1000.0)
    });
    serde_json::from_value(json).unwrap()
}

#[test]
fn the_snapshot_has_the_percentiles_of_everything() {
    let rig = Rig::new();
    rig.run(|rig| requests(rig, 1_000));
    let percentiles = rig.handle.snapshot().percentiles;
    assert_near(percentiles.e2e_total_ms.unwrap(), even(1_000.0));
    assert_near(percentiles.unattributed_time_ms.unwrap(), even(250.0));
    assert_eq!(percentiles.queue_time_ms.unwrap().max, Millis::ZERO);
    let rates = percentiles.tokens_per_s.unwrap();
    assert!((rates.max - 11_000.0).abs() <= 110.0 && (rates.p50 - 11.0 / 0.5).abs() <= 0.3, "{rates:?}");
    let [stage] = percentiles.stages.as_slice() else { panic!("{percentiles:?}") };
    assert_eq!(stage.stage_id, Some(0));
    assert_near(stage.stage_gen_time_ms.unwrap(), even(500.0));
    assert_near(stage.busy_time_ms.unwrap(), even(500.0));
    assert_eq!(stage.first_output_ms.unwrap().max, Millis::ZERO);
    assert_near(stage.time_per_output_token_ms.unwrap(), even(50.0));
    let [edge] = percentiles.transfers.as_slice() else { panic!("{percentiles:?}") };
    assert_eq!((edge.from_stage, edge.to_stage), (Some(0), Some(1)));
    assert_near(edge.tx_time_ms.unwrap(), even(250.0));
    assert_near(edge.total_time_ms.unwrap(), even(250.0));
    assert_eq!((edge.rx_decode_time_ms, edge.in_flight_time_ms), (None, None), "nobody measured them");
}

#[test]
fn threads_add_up_and_a_reset_begins_anew() {
    let rig = Rig::new();
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| rig.run(|rig| requests(rig, 50)));
        }
    });
    let count = |rig: &Rig| rig.handle.snapshot().percentiles.e2e_total_ms.map(|e2e| e2e.count);
    assert_eq!(count(&rig), Some(1_000));
    rig.handle.reset();
    assert_eq!(count(&rig), None);
}

#[test]
fn the_summary_line_says_what_the_snapshot_does() {
    let rig = Rig::new();
    rig.run(|rig| requests(rig, 10));
    rig.handle.write_summary();
    let text = rig.log.text();
    let last = text.lines().last().unwrap();
    assert!(last.starts_with(r#"{"type":"summary","schema":1,"timestamp":"2026-"#), "{last}");
    let Ok(Line::Summary(line)) = last.parse() else { panic!("{last}") };
    let snapshot = rig.handle.snapshot();
    assert_eq!(
        (&line.overall_summary, &line.percentiles),
        (&snapshot.overall_summary, &snapshot.percentiles)
    );
    let value: serde_json::Value = serde_json::from_str(last).unwrap();
    assert!(value["percentiles"]["e2e_total_ms"]["p99"].as_f64().unwrap() > 9.9, "{last}");
    assert_eq!(value["percentiles"]["transfers"][0]["in_flight_time_ms"], serde_json::Value::Null);
}

#[test]
fn a_guard_writes_the_summary_when_it_goes_out_of_scope() {
    let rig = Rig::with(|layer| layer.with_format(Format::Table));
    {
        let _summary = rig.handle.summary_guard();
        rig.run_text(|rig| requests(rig, 3));
    }
    let text = rig.log.text();
    let (_, summary) = text.rsplit_once("Overall Summary").unwrap();
    assert!(summary.contains("| e2e_requests                |         3 |"), "{summary}");
    assert!(summary.contains("| Field ") && summary.contains("p99.9"), "{summary}");
    assert!(
        summary.contains("stage 0 stage_gen_time_ms") && summary.contains("0->1 tx_time_ms"),
        "{summary}"
    );
}

#[test]
fn stages_past_the_limit_have_rows_but_no_percentiles() {
    let rig = Rig::new();
    rig.run(|_| {
        let _request = info_span!("request", request_id = "r").entered();
        (0..100_u64).for_each(|stage_id| info_span!("stage", stage_id).in_scope(|| ()));
    });
    assert_eq!(rig.handle.snapshot().percentiles.stages.len(), 16);
}

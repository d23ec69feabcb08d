//! The level up to which the layer sees spans: what it does to `log`, to callsites and to the lines. A process for
//! each set-up, since `.init()` is one a process.

mod support;

use omni_metrics::OmniMetricsLayer;
use support::{Log, in_a_process_of_its_own};
use tracing::{Level, debug_span, info_span, level_filters::LevelFilter, trace_span};
use tracing_subscriber::{Layer, fmt, prelude::*};

/// A request of level info with stages of three levels, behind a foreign span.
fn program() {
    let _request = info_span!("request", request_id = "r").entered();
    let _foreign = info_span!("foreign").entered();
    drop(info_span!("stage", stage_id = 0));
    drop(debug_span!("stage", stage_id = 1));
    drop(trace_span!("stage", stage_id = 2));
}

fn stages_of(log: &Log) -> usize {
    let lines = log.lines();
    assert_eq!(lines.len(), 1);
    lines[0]["stage_table"].as_array().unwrap().len()
}

#[test]
fn without_a_level_log_is_asked_for_everything() {
    if !in_a_process_of_its_own("without_a_level_log_is_asked_for_everything") {
        return;
    }
    let log = Log::default();
    tracing_subscriber::registry().with(OmniMetricsLayer::new().with_writer(log.clone())).init();
    assert_eq!(log::max_level(), log::LevelFilter::Trace);
    assert_eq!(LevelFilter::current(), LevelFilter::TRACE);
    program();
    assert_eq!(stages_of(&log), 3);
}

#[test]
fn without_a_level_a_global_filter_keeps_its_own() {
    if !in_a_process_of_its_own("without_a_level_a_global_filter_keeps_its_own") {
        return;
    }
    let layer = OmniMetricsLayer::new().with_writer(std::io::sink);
    tracing_subscriber::registry().with(LevelFilter::WARN).with(layer).init();
    assert_eq!(log::max_level(), log::LevelFilter::Warn);
}

#[test]
fn a_level_is_the_level_of_log_and_spans_above_it_are_not_seen() {
    if !in_a_process_of_its_own("a_level_is_the_level_of_log_and_spans_above_it_are_not_seen") {
        return;
    }
    let log = Log::default();
    let layer = OmniMetricsLayer::new().with_writer(log.clone()).with_max_level(LevelFilter::DEBUG);
    let handle = layer.handle();
    tracing_subscriber::registry().with(layer).init();
    assert_eq!(log::max_level(), log::LevelFilter::Debug);
    assert_eq!(LevelFilter::current(), LevelFilter::DEBUG);
    program();
    assert_eq!(stages_of(&log), 2);

    handle.set_log_stats(false);
    assert_eq!(LevelFilter::current(), LevelFilter::OFF);
    handle.set_log_stats(true);
    assert_eq!(LevelFilter::current(), LevelFilter::DEBUG);
}

#[test]
fn a_level_below_the_lineage_level_keeps_no_foreign_span() {
    if !in_a_process_of_its_own("a_level_below_the_lineage_level_keeps_no_foreign_span") {
        return;
    }
    let layer = OmniMetricsLayer::new().with_writer(std::io::sink).with_max_level(LevelFilter::WARN);
    tracing_subscriber::registry().with(layer).init();
    assert!(info_span!("foreign").is_disabled() && info_span!("request").is_disabled());
    assert!(!tracing::warn_span!("foreign").is_disabled() && !tracing::error_span!("request").is_disabled());
}

#[test]
fn a_level_is_of_this_layer_alone() {
    if !in_a_process_of_its_own("a_level_is_of_this_layer_alone") {
        return;
    }
    let (log, printed) = (Log::default(), Log::default());
    let layer = OmniMetricsLayer::new().with_writer(log.clone()).with_max_level(LevelFilter::INFO);
    let fmt = fmt::layer().with_writer(printed.clone()).with_filter(LevelFilter::DEBUG);
    tracing_subscriber::registry().with(layer).with(fmt).init();
    assert_eq!(log::max_level(), log::LevelFilter::Debug);
    assert!(tracing::event_enabled!(Level::DEBUG) && !tracing::event_enabled!(Level::TRACE));
    program();
    assert_eq!(stages_of(&log), 1, "the other layer's level is not this one's");
    debug_span!("request", request_id = "unseen").in_scope(|| tracing::debug!("seen"));
    assert_eq!(log.lines().len(), 1);
    assert!(printed.text().contains("seen"));
}

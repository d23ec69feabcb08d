//! Section 1 of docs/numbers.md: spans, fields, and the values they take.

mod support;

use std::{error::Error, fmt, sync::Arc};

use serde_json::{Value, json};
use support::{Rig, line, lines, warnings};
use tracing::{field::Empty, info_span, instrument, trace_span};

/// The stage row of a request whose one stage span is made by `program`.
fn stage_line(program: impl FnOnce(&Rig)) -> Value {
    line(|rig| {
        let _request = info_span!("request", request_id = "r").entered();
        program(rig);
    })
}

#[test]
fn every_documented_field_is_there_even_if_nothing_was_recorded() {
    let line = stage_line(|_| {
        drop(info_span!("stage", stage_id = 0));
        drop(info_span!("transfer", from_stage = 0, to_stage = 1, phase = "rx"));
    });
    let stage = line["stage_table"][0].as_object().unwrap();
    for field in ["batch_id", "batch_size", "num_tokens_in", "num_tokens_out", "preprocess_time_ms"] {
        assert_eq!(stage.get(field), Some(&Value::Null), "{field}");
    }
    let transfer = line["transfer_table"][0].as_object().unwrap();
    for field in ["size_bytes", "tx_time_ms", "in_flight_time_ms"] {
        assert_eq!(transfer.get(field), Some(&Value::Null), "{field}");
    }
    for absent in ["stage_name", "first_output_ms", "time_per_output_token_ms", "fields", "wall_time_ms"] {
        assert_eq!(stage.get(absent), None, "{absent}");
    }
    assert_eq!(line.get("warnings"), None);
}

#[test]
fn a_measured_zero_is_not_a_missing_value() {
    let line = stage_line(|_| {
        let _stage = info_span!("stage", stage_id = 0, num_tokens_out = 0, preprocess_time_ms = 0).entered();
    });
    assert_eq!(line["stage_table"][0]["num_tokens_out"], json!(0));
    assert_eq!(line["stage_table"][0]["preprocess_time_ms"], json!(0.0));
    assert_eq!(line["stage_table"][0]["stage_gen_time_ms"], json!(0.0));
    assert_eq!(line["stage_table"][0]["num_tokens_in"], Value::Null);
}

#[test]
fn numbers_come_in_any_type_and_through_display_debug_and_text() {
    let line = stage_line(|_| {
        drop(info_span!(
            "stage",
            stage_id = 3_u8,
            batch_id = ?Some(38),
            batch_size = 2.0_f32,
            num_tokens_in = %4860,
            num_tokens_out = "67",
            preprocess_time_ms = ?Some(256.158),
            stage_gen_time_ms = 9910_i128,
        ));
        drop(info_span!(
            "transfer",
            from_stage = 0_i8,
            to_stage = 1_usize,
            size_bytes = 111_900_005_u128,
            tx_time_ms = ?78.701_f64,
            rx_decode_time_ms = "111.865",
            in_flight_time_ms = ?"2.015",
        ));
    });
    let stage = &line["stage_table"][0];
    assert_eq!(
        [
            &stage["stage_id"],
            &stage["batch_id"],
            &stage["batch_size"],
            &stage["num_tokens_in"],
            &stage["num_tokens_out"],
            &stage["preprocess_time_ms"],
            &stage["stage_gen_time_ms"],
        ],
        [&json!(3), &json!(38), &json!(2), &json!(4860), &json!(67), &json!(256.158), &json!(9910.0)]
    );
    let transfer = &line["transfer_table"][0];
    assert_eq!(
        [
            &transfer["size_bytes"],
            &transfer["tx_time_ms"],
            &transfer["rx_decode_time_ms"],
            &transfer["in_flight_time_ms"],
            &transfer["total_time_ms"],
        ],
        [&json!(111_900_005), &json!(78.701), &json!(111.865), &json!(2.015), &json!(192.581)]
    );
    assert_eq!(line.get("warnings"), None);
}

#[test]
fn an_option_that_tracing_knows_is_recorded_only_if_it_is_some() {
    let line = stage_line(|_| {
        drop(info_span!("stage", stage_id = Some(1), num_tokens_in = None::<u64>));
    });
    assert_eq!(line["stage_table"][0]["stage_id"], json!(1));
    assert_eq!(line["stage_table"][0]["num_tokens_in"], Value::Null);
    assert_eq!(line.get("warnings"), None);
}

#[test]
fn fields_may_be_recorded_late_and_the_last_value_wins() {
    let line = stage_line(|_| {
        let stage = info_span!("stage", stage_id = 7, num_tokens_out = Empty, stage_name = "first");
        stage.record("num_tokens_out", 1);
        stage.in_scope(|| stage.record("num_tokens_out", 5));
        stage.record("stage_id", 0);
        stage.record("stage_name", "last");
    });
    let stage = &line["stage_table"][0];
    assert_eq!((&stage["stage_id"], &stage["num_tokens_out"]), (&json!(0), &json!(5)));
    assert_eq!(stage["stage_name"], "last");
}

#[test]
fn a_field_that_the_span_did_not_declare_can_not_be_recorded() {
    let line = stage_line(|_| {
        let stage = info_span!("stage", stage_id = 0);
        stage.record("num_tokens_out", 5);
    });
    assert_eq!(
        line["stage_table"][0]["num_tokens_out"],
        Value::Null,
        "`tracing` drops it before any layer sees it"
    );
}

#[test]
fn what_cannot_be_used_is_as_if_not_recorded_and_warns_naming_span_field_and_value() {
    for (value, shown) in [
        (Box::new(-1_i64) as Box<dyn tracing::Value>, "-1"),
        (Box::new(f64::NAN), "NaN"),
        (Box::new(f64::INFINITY), "inf"),
        (Box::new(1.5), "1.5"),
        (Box::new(true), "true"),
        (Box::new("many"), "many"),
        (Box::new(u128::MAX), "340282366920938463463374607431768211455"),
        (Box::new(i128::MIN), "-170141183460469231731687303715884105728"),
        (Box::new("1e400"), "1e400"),
    ] {
        let line = stage_line(|_| {
            drop(info_span!("stage", stage_id = 0, num_tokens_out = &*value));
        });
        assert_eq!(line["stage_table"][0]["num_tokens_out"], Value::Null, "{shown}");
        assert_eq!(line["e2e_table"]["e2e_total_tokens"], json!(0));
        let warnings = warnings(&line);
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        for part in ["`stage`", "`num_tokens_out`", &format!("`{shown}`")] {
            assert!(warnings[0].contains(part), "{part} in {warnings:?}");
        }
    }
}

#[test]
fn a_number_is_read_from_the_whole_text_or_not_at_all() {
    let line = stage_line(|_| {
        drop(info_span!("stage", stage_id = 0, num_tokens_out = format!("7{}garbage", " ".repeat(2_000))));
        drop(info_span!("transfer", from_stage = 0, to_stage = 1, phase = ?Some("rx")));
    });
    assert_eq!(line["stage_table"][0]["num_tokens_out"], Value::Null);
    assert_eq!(line["transfer_table"][0]["tx_time_ms"], Value::Null);
    assert_eq!(warnings(&line).len(), 1);
}

#[test]
fn what_cannot_be_used_leaves_the_value_before() {
    let line = stage_line(|_| {
        let stage = info_span!("stage", stage_id = 0, num_tokens_out = 4);
        stage.record("num_tokens_out", -4);
    });
    assert_eq!(line["stage_table"][0]["num_tokens_out"], json!(4));
    assert_eq!(warnings(&line).len(), 1);
}

#[test]
fn a_negative_or_endless_time_is_unusable_too() {
    let line = stage_line(|rig| {
        let stage = info_span!("stage", stage_id = 0, stage_gen_time_ms = -0.5, preprocess_time_ms = 1e300);
        stage.in_scope(|| rig.wait_ms(3));
    });
    assert_eq!(line["stage_table"][0]["stage_gen_time_ms"], json!(3.0));
    assert_eq!(line["stage_table"][0]["preprocess_time_ms"], Value::Null);
    assert_eq!(warnings(&line).len(), 2);
}

#[test]
fn a_request_id_may_be_of_any_type() {
    #[derive(Debug)]
    #[allow(dead_code, reason = "shown through Debug")]
    struct Uuid(&'static str);
    struct Shown;
    impl fmt::Display for Shown {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("shown")
        }
    }
    let error: Box<dyn Error> = "broken".into();
    let arc: Arc<str> = "arc".into();
    let ids: Vec<Value> = lines(|_| {
        drop(info_span!("request", request_id = "text"));
        drop(info_span!("request", request_id = 7_u64));
        drop(info_span!("request", request_id = -7));
        drop(info_span!("request", request_id = 1.5));
        drop(info_span!("request", request_id = true));
        drop(info_span!("request", request_id = u128::MAX));
        drop(info_span!("request", request_id = %Shown));
        drop(info_span!("request", request_id = ?arc));
        drop(info_span!("request", request_id = ?Some("inner")));
        drop(info_span!("request", request_id = ?Uuid("x")));
        drop(info_span!("request", request_id = ?"Some(text)"));
        drop(info_span!("request", request_id = ?"None"));
        drop(info_span!("request", request_id = %"\"\"x\"\""));
        drop(info_span!("request", request_id = ?"\"twice\""));
        drop(info_span!("request", request_id = &b"bytes"[..]));
        drop(info_span!("request", request_id = &*error));
    })
    .iter()
    .map(|line| line["request_id"].clone())
    .collect();
    let expected = [
        "text",
        "7",
        "-7",
        "1.5",
        "true",
        "340282366920938463463374607431768211455",
        "shown",
        "arc",
        "inner",
        "Uuid(\"x\")",
        "Some(text)",
        "None",
        "\"x\"",
        "\\\"twice\\\"",
        "bytes",
        "broken",
    ];
    assert_eq!(ids, expected);
}

#[test]
fn instrumented_arguments_are_fields() {
    #[instrument(name = "request", skip_all, fields(request_id = %id))]
    fn request(id: &str) {
        stage(0, String::from("thinker"), Some(12));
    }
    #[instrument(name = "stage")]
    fn stage(stage_id: u64, stage_name: String, num_tokens_in: Option<u64>) {}

    let line = line(|_| request("r1"));
    assert_eq!(line["request_id"], "r1");
    let stage = &line["stage_table"][0];
    assert_eq!((&stage["stage_id"], &stage["num_tokens_in"]), (&json!(0), &json!(12)));
    assert_eq!(stage["stage_name"], "thinker");
}

#[test]
fn further_fields_are_kept_with_their_type() {
    let line = line(|_| {
        let _request =
            info_span!("request", request_id = "r", user = "u", paid = true, finish_reason = "stop")
                .entered();
        drop(
            info_span!("stage", stage_id = 0, loss = 0.25, gpu = -1, tags = ?["a"], name = ?"x", bad = f64::NAN),
        );
        drop(info_span!("transfer", from_stage = 0, to_stage = 1, link = "nvlink", hops = 3_u8));
    });
    assert_eq!(line["fields"], json!({"user": "u", "paid": true}));
    assert_eq!(line["e2e_table"]["finish_reason"], "stop");
    let stage = json!({"loss": 0.25, "gpu": -1, "tags": "[\"a\"]", "name": "x", "bad": "NaN"});
    assert_eq!(line["stage_table"][0]["fields"], stage);
    assert_eq!(line["transfer_table"][0]["fields"], json!({"link": "nvlink", "hops": 3}));
}

#[test]
fn a_field_of_another_span_kind_is_a_further_field() {
    let line = line(|_| {
        let _request = info_span!("request", request_id = "r", stage_id = 1).entered();
        drop(info_span!("stage", stage_id = 0, size_bytes = 5, finish_reason = "stop"));
        drop(info_span!("transfer", from_stage = 0, to_stage = 1, stage_name = "x"));
    });
    assert_eq!(line["fields"], json!({"stage_id": 1}));
    assert_eq!(line["stage_table"][0]["fields"], json!({"size_bytes": 5, "finish_reason": "stop"}));
    assert_eq!(line["transfer_table"][0]["fields"], json!({"stage_name": "x"}));
}

#[test]
fn a_row_keeps_32_further_fields_and_warns_of_more() {
    let line = stage_line(|_| {
        drop(info_span!(
            "stage",
            stage_id = 0,
            f01 = 1,
            f02 = 1,
            f03 = 1,
            f04 = 1,
            f05 = 1,
            f06 = 1,
            f07 = 1,
            f08 = 1,
            f09 = 1,
            f10 = 1,
            f11 = 1,
            f12 = 1,
            f13 = 1,
            f14 = 1,
            f15 = 1,
            f16 = 1,
            f17 = 1,
            f18 = 1,
            f19 = 1,
            f20 = 1,
        ));
        drop(info_span!(
            "stage",
            stage_id = 0,
            f01 = 2,
            f21 = 1,
            f22 = 1,
            f23 = 1,
            f24 = 1,
            f25 = 1,
            f26 = 1,
            f27 = 1,
            f28 = 1,
            f29 = 1,
            f30 = 1,
            f31 = 1,
            f32 = 1,
            f33 = 1,
        ));
    });
    let fields = line["stage_table"][0]["fields"].as_object().unwrap();
    assert_eq!(fields.len(), 32);
    assert_eq!(fields["f01"], json!(2), "a known name still takes the last value");
    let warnings = warnings(&line);
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("`f33`"), "{warnings:?}");
}

#[test]
fn a_value_is_kept_up_to_1_kib_and_a_request_id_up_to_256_bytes() {
    let long = "é".repeat(2_000);
    let line = line(|_| {
        let _request = info_span!("request", request_id = format!("x{long}"), note = long).entered();
        drop(info_span!("stage", stage_id = 0, note = ?long, stage_name = long));
    });
    assert_eq!(
        line["request_id"].as_str().unwrap(),
        format!("x{}", "é".repeat(127)),
        "on a character boundary"
    );
    assert_eq!(line["fields"]["note"].as_str().unwrap(), "é".repeat(512));
    assert_eq!(
        line["stage_table"][0]["fields"]["note"].as_str().unwrap().len(),
        1022,
        "one quote was cut off"
    );
    assert_eq!(line["stage_table"][0]["stage_name"].as_str().unwrap(), "é".repeat(512));
    assert_eq!(warnings(&line).len(), 4);
}

#[test]
fn a_request_without_an_id_gets_one_of_its_own() {
    let lines = lines(|_| {
        for _ in 0..100 {
            drop(info_span!("request", request_id = Empty));
        }
        drop(info_span!("request", request_id = ?None::<u32>));
    });
    let mut ids: Vec<_> = lines.iter().map(|line| line["request_id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 101);
    assert!(ids.iter().all(|id| id.starts_with("req-")), "{ids:?}");
}

#[test]
fn a_request_that_owns_nothing_and_encloses_a_request_is_a_wrapper() {
    let rig = Rig::new();
    let lines = rig.run(|rig| {
        let _http = info_span!("request", method = "POST", uri = "/", version = "HTTP/1.1").entered();
        let _middle = info_span!("between").entered();
        let _request = info_span!("request", request_id = "inner").entered();
        assert_eq!(rig.handle.snapshot().open_requests, 1);
        rig.wait_ms(2);
        drop(info_span!("stage", stage_id = 0));
    });
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["request_id"], "inner");
    assert_eq!(lines[0]["overall_summary"]["e2e_requests"], 1);
    assert_eq!(rig.handle.snapshot().open_requests, 0);
}

#[test]
fn a_request_that_owns_a_row_is_none() {
    let lines = lines(|_| {
        let _outer = info_span!("request", request_id = "outer").entered();
        drop(info_span!("request", request_id = "inner"));
        drop(info_span!("transfer", from_stage = 0, to_stage = 1));
    });
    let ids: Vec<_> = lines.iter().map(|line| &line["request_id"]).collect();
    assert_eq!(ids, ["inner", "outer"]);
}

#[test]
fn names_count_at_any_level_and_only_for_spans() {
    let line = line(|_| {
        let _request = trace_span!("request", request_id = "r").entered();
        drop(trace_span!("stage", stage_id = 0));
        drop(info_span!("Stage", stage_id = 1));
        drop(info_span!("stage_two", stage_id = 2));
        tracing::info!(name: "stage", stage_id = 3);
    });
    assert_eq!(line["stage_table"].as_array().unwrap().len(), 1);
}

#[test]
fn a_field_that_is_one_slip_away_from_one_of_the_contract_warns_once_a_callsite_naming_both() {
    let rig = Rig::new();
    let stage = |id: u64| info_span!("stage", stage_id = id, num_token_out = 67, first_outptu = Empty);
    let lines = rig.run(|_| {
        for request_id in ["r1", "r2"] {
            let _request = info_span!("request", request_id, finish_reasom = "stop").entered();
            drop((stage(0), stage(1)));
            drop(info_span!("transfer", from_stag = 0, to_stage = 1, sizebytes = 2));
        }
    });
    let lines: Vec<Vec<String>> = lines.iter().map(warnings).collect();
    let of = |meant: &str| {
        let slips = lines[0].iter().filter(|warning| warning.contains("did you mean"));
        slips.filter(|warning| warning.contains(meant)).collect::<Vec<_>>()
    };
    assert_eq!(
        of("`num_tokens_out`"),
        ["span `stage`, field `num_token_out`, value `67`: not a documented field; did you mean \
          `num_tokens_out`? It is kept under `fields`"]
    );
    for (field, meant) in [
        ("`first_outptu`, value `none yet`", "`first_output`"),
        ("`finish_reasom`, value `stop`", "`finish_reason`"),
        ("`from_stag`, value `0`", "`from_stage`"),
        ("`sizebytes`, value `2`", "`size_bytes`"),
    ] {
        let warnings = of(meant);
        assert_eq!(warnings.len(), 1, "{lines:?}");
        assert!(warnings[0].contains(field), "{warnings:?}");
    }
    let slips = |line: &[String]| line.iter().filter(|warning| warning.contains("did you mean")).count();
    assert_eq!((slips(&lines[0]), slips(&lines[1])), (5, 0));
}

#[test]
fn a_field_that_is_further_away_or_another_span_kinds_is_no_slip() {
    let line = line(|_| {
        let _request =
            info_span!("request", request_id = "r", user = "u", finish = "stop", stage_id = 0).entered();
        drop(info_span!("stage", stage_id = 0, tokens = 1, num_toke_out = 2, size_bytes = 3, stageid_ = 4));
        drop(info_span!("transfer", from_stage = 0, to_stage = 1, stage_name = "x", phases2 = 1));
    });
    assert_eq!(line.get("warnings"), None);
}

#[test]
fn every_layer_warns_of_a_slip_of_its_own() {
    let program = || {
        let _request = info_span!("request", request_id = "r").entered();
        drop(info_span!("stage", stage_id = 0, batch_ids = 1));
        drop(info_span!("stag"));
    };
    for _ in 0..2 {
        assert_eq!(warnings(&line(|_| program())).len(), 2);
    }
}

#[test]
fn a_foreign_span_that_is_one_slip_away_from_one_of_the_contract_warns_its_request_once_a_callsite() {
    let lines = Rig::new().run(|_| {
        for request_id in ["r1", "r2"] {
            let _request = info_span!("request", request_id).entered();
            let _foreign = info_span!("foreign").entered();
            drop(info_span!("stages", stage_id = 0));
            drop(info_span!("transfre", from_stage = 0, to_stage = 1));
            drop(info_span!("preproces"));
            drop(info_span!("a_stage"));
            tracing::info!(name: "stages", "an event");
        }
    });
    let mut found = warnings(&lines[0]);
    found.sort_unstable();
    assert_eq!(
        found,
        [
            "span `preproces`: not a documented span; did you mean `preprocess`? It is in no table",
            "span `stages`: not a documented span; did you mean `stage`? It is in no table",
            "span `transfre`: not a documented span; did you mean `transfer`? It is in no table",
        ]
    );
    assert_eq!(warnings(&lines[1]), <[&str; 0]>::default());
}

#[test]
fn a_slip_outside_of_any_request_is_in_the_next_line_whichever_it_is() {
    let lines = Rig::new().run(|rig| {
        drop(info_span!("requests", request_id = "lost"));
        drop(info_span!("stage", stage_id = 0, request_id = "detached"));
        let request = info_span!("request", request_id = "r");
        let inside = request.clone();
        drop(request);
        inside.in_scope(|| rig.wait_ms(1));
        drop(inside);
        drop(info_span!("reques"));
        drop(info_span!("transfers"));
        drop(info_span!("request", request_id = "next"));
    });
    let of = |line: &Value| warnings(line).iter().filter(|warning| warning.contains("did you mean")).count();
    let found: Vec<_> = lines.iter().map(|line| (line["type"].as_str().unwrap(), of(line))).collect();
    assert_eq!(found, [("stage", 1), ("request", 0), ("request", 2)]);
}

#[test]
fn a_slip_that_the_filter_has_seen_and_no_span_has_made_warns_of_nothing() {
    let lines = lines(|_| {
        let slip = || info_span!("requesst");
        // The callsite is registered with every layer of the process; this layer sees no span of it.
        tracing::dispatcher::with_default(&Rig::new().dispatch, || drop(slip()));
        drop(info_span!("request", request_id = "r"));
    });
    assert_eq!(warnings(&lines[0]), <[&str; 0]>::default());
}

#[test]
fn a_number_named_sum_adds_up_over_the_spans_of_its_row_and_stands_under_its_own_name() {
    let line = stage_line(|_| {
        for chunk in 1..=3_u64 {
            let stage =
                info_span!("stage", stage_id = 0, sum.chunks = 1, sum.bytes = 100, chunk, note = Empty);
            stage.record("sum.bytes", chunk * 10);
            stage.record("note", "last");
            drop(info_span!("transfer", from_stage = 0, to_stage = 1, sum.retries = chunk));
        }
    });
    let fields = json!({"chunks": 3, "bytes": 60, "chunk": 3, "note": "last"});
    assert_eq!(line["stage_table"][0]["fields"], fields, "the last value of a span counts");
    assert_eq!(line["transfer_table"][0]["fields"], json!({"retries": 6}));
    assert_eq!(line.get("warnings"), None);
}

#[test]
fn sums_keep_the_type_of_what_they_add_up() {
    let line = stage_line(|_| {
        drop(info_span!(
            "stage",
            stage_id = 0,
            sum.below = -5,
            sum.float = 0.5,
            sum.mixed = 1,
            sum.text = %"2",
            sum.option = ?Some(3),
            sum.most = u64::MAX,
            sum.least = i64::MIN,
            sum.huge = f64::MAX,
        ));
        drop(info_span!(
            "stage",
            stage_id = 0,
            sum.below = 2_u64,
            sum.float = 0.25,
            sum.mixed = 0.5,
            sum.text = "2.5",
            sum.option = ?Some("4"),
            sum.most = 1,
            sum.least = -1,
            sum.huge = f64::MAX,
        ));
    });
    let fields = json!({
        "below": -3,
        "float": 0.75,
        "mixed": 1.5,
        "text": 4.5,
        "option": 7,
        "most": u64::MAX,
        "least": i64::MIN,
        "huge": f64::MAX,
    });
    assert_eq!(line["stage_table"][0]["fields"], fields);
    assert_eq!(line.get("warnings"), None);
}

#[test]
fn what_is_no_number_is_kept_under_its_full_name_with_a_warning() {
    let line = line(|_| {
        let _request = info_span!("request", request_id = "r", sum.paid = true).entered();
        for value in ["many", "2", "3"] {
            drop(info_span!("stage", stage_id = 0, sum.x = value, sum.y = f64::NAN));
        }
    });
    assert_eq!(line["fields"], json!({"sum.paid": true}));
    assert_eq!(line["stage_table"][0]["fields"], json!({"x": 5, "sum.x": "many", "sum.y": "NaN"}));
    let warnings = warnings(&line);
    assert_eq!(warnings.len(), 5, "{warnings:?}");
    for (span, field, value) in
        [("request", "sum.paid", "true"), ("stage", "sum.x", "many"), ("stage", "sum.y", "NaN")]
    {
        let start = format!("span `{span}`, field `{field}`, value `{value}`: it is not a number");
        assert!(warnings.iter().any(|warning| warning.starts_with(&start)), "{start}: {warnings:?}");
    }
}

#[test]
fn a_sum_on_a_request_stands_under_its_own_name() {
    let line = line(|_| {
        let request = info_span!("request", request_id = "r", sum.cost = 1.5, "sum." = 1, user = "u");
        request.record("sum.cost", 2);
    });
    assert_eq!(line["fields"], json!({"cost": 2, "sum.": 1, "user": "u"}));
    assert_eq!(line.get("warnings"), None);
}

#[test]
fn a_sum_whose_name_a_text_has_taken_stays_under_its_full_name() {
    let line = stage_line(|_| {
        drop(info_span!("stage", stage_id = 0, x = "text", y = 1));
        drop(info_span!("stage", stage_id = 0, sum.x = 1, sum.y = 2));
        drop(info_span!("stage", stage_id = 0, sum.x = 2, sum.y = 3));
    });
    assert_eq!(line["stage_table"][0]["fields"], json!({"x": "text", "sum.x": 3, "y": 6}));
    assert_eq!(warnings(&line).len(), 2);
    assert!(warnings(&line)[0].contains("field `sum.x`, value `1`: "), "{line}");
}

#[test]
fn a_row_keeps_32_further_fields_sums_included() {
    let line = stage_line(|_| {
        drop(info_span!(
            "stage",
            stage_id = 0,
            f01 = 1,
            f02 = 1,
            f03 = 1,
            f04 = 1,
            f05 = 1,
            f06 = 1,
            f07 = 1,
            f08 = 1,
            f09 = 1,
            f10 = 1,
            f11 = 1,
            f12 = 1,
            f13 = 1,
            f14 = 1,
            f15 = 1,
            f16 = 1,
            f17 = 1,
            f18 = 1,
            f19 = 1,
            f20 = 1,
            f21 = 1,
            f22 = 1,
            f23 = 1,
            f24 = 1,
            f25 = 1,
            f26 = 1,
            f27 = 1,
            f28 = 1,
            f29 = 1,
            f30 = 1
        ));
        for _ in 0..2 {
            drop(info_span!("stage", stage_id = 0, sum.a = 1, sum.b = 1, sum.c = 1, sum.f01 = 1));
        }
    });
    let fields = line["stage_table"][0]["fields"].as_object().unwrap();
    assert_eq!(fields.len(), 32);
    assert_eq!((&fields["a"], &fields["b"], &fields["f01"]), (&json!(2), &json!(2), &json!(3)));
    let warnings = warnings(&line);
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings.iter().all(|warning| warning.contains("`c`")), "{warnings:?}");
}

#[test]
fn a_detached_row_and_the_rows_of_a_batch_have_sums_too() {
    let lines = lines(|_| {
        drop(info_span!("stage", stage_id = 0, request_id = "elsewhere", sum.chunks = 2));
        drop(info_span!("transfer", from_stage = 0, to_stage = 1, request_id = "elsewhere", sum.chunks = 3));
        let requests: Vec<_> = (0..2).map(|id: u32| info_span!("request", request_id = id)).collect();
        for _ in 0..2 {
            let batch = info_span!("stage", stage_id = 0, sum.steps = 1);
            requests.iter().for_each(|request| {
                batch.follows_from(request);
            });
        }
    });
    let fields =
        |line: &Value| line.get("fields").or(line.pointer("/stage_table/0/fields")).cloned().unwrap();
    let found: Vec<_> = lines.iter().map(fields).collect();
    let (chunks, steps) = (|n: u64| json!({"chunks": n}), json!({"steps": 2}));
    assert_eq!(found, [chunks(2), chunks(3), steps.clone(), steps]);
}

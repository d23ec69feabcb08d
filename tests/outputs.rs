//! Section 8 of docs/numbers.md, outputs and media: every number, exact, on a clock that the test moves.

mod support;

use std::time::Duration;

use omni_metrics::StageRow;
use proptest::prelude::*;
use serde_json::{Value, json};
use support::{Rig, line, lines, warnings};
use tracing::{Span, field::Empty, info_span, record_all};

/// A stage that declares what section 8 adds.
fn stage() -> Span {
    info_span!("stage", stage_id = 0, output = Empty, output_media_ms = Empty, num_tokens_out = Empty)
}

/// The line of a request around a program.
fn inside(program: impl FnOnce(&Rig)) -> Value {
    line(|rig| {
        let _request = info_span!("request", request_id = "r").entered();
        program(rig);
    })
}

/// The members of a row with these names, absent ones as null.
fn members<const N: usize>(row: &Value, names: [&str; N]) -> [Value; N] {
    names.map(|name| row.get(name).cloned().unwrap_or_default())
}

#[test]
fn each_output_is_a_moment_and_their_gaps_have_a_mean_and_a_maximum() {
    let line = inside(|rig| {
        rig.wait_ms(1);
        let stage = stage();
        let entered = stage.enter();
        for millis in [10, 2, 4, 9] {
            rig.wait_ms(millis);
            stage.record("output", 1);
        }
        rig.wait_ms(100);
        drop(entered);
    });
    let row = &line["stage_table"][0];
    assert_eq!(
        members(row, ["outputs", "first_output_ms", "last_output_ms", "num_tokens_out"]),
        [json!(4), json!(11.0), json!(26.0), json!(4)]
    );
    assert_eq!(
        members(row, ["inter_output_mean_ms", "inter_output_max_ms", "time_per_output_token_ms"]),
        [json!(5.0), json!(9.0), json!(5.0)],
        "the time after the last output does not count"
    );
    assert_eq!(line["e2e_table"]["e2e_total_tokens"], 4);
}

#[test]
fn one_output_has_no_gaps_and_no_output_has_nothing() {
    let line = inside(|_| {
        stage().record("output", 1);
        drop(info_span!("stage", stage_id = 1, output = Empty, output_media_ms = Empty, scheduled = Empty));
    });
    let names = ["outputs", "inter_output_mean_ms", "inter_output_max_ms", "time_per_output_token_ms"];
    assert_eq!(members(&line["stage_table"][0], names), [json!(1), Value::Null, Value::Null, Value::Null]);
    let keys: Vec<_> = line["stage_table"][1].as_object().unwrap().keys().map(String::as_str).collect();
    let mut documented = [
        "stage_id",
        "batch_id",
        "batch_size",
        "num_tokens_in",
        "num_tokens_out",
        "preprocess_time_ms",
        "stage_gen_time_ms",
        "busy_time_ms",
        "queue_time_ms",
        "start_ms",
        "events",
    ];
    documented.sort_unstable();
    assert_eq!(keys, documented);
}

#[test]
fn the_new_keys_stand_where_the_contract_says() {
    let rig = Rig::new();
    rig.run_text(|rig| {
        let a = info_span!("request", request_id = "a", finish_reason = "stop");
        let b = info_span!("request", request_id = "b");
        rig.wait_ms(2);
        let batch = info_span!("stage", stage_id = 0, scheduled = Empty, first_output = Empty);
        batch.follows_from(&a);
        batch.follows_from(&b);
        rig.wait_ms(4);
        let entered = batch.enter();
        let part = info_span!(
            "stage",
            stage_id = 0,
            request_id = "a",
            num_tokens_cached = 3,
            num_tokens_reasoning = 1,
            output = Empty,
            output_media_ms = Empty,
            stage_name = "talker",
            note = "n"
        );
        for millis in [5, 20] {
            rig.wait_ms(millis);
            record_all!(part, output = 1, output_media_ms = 10.0);
            part.in_scope(|| tracing::error!("no voice"));
        }
        drop((part, entered));
        drop((batch, a));
    });
    let text = rig.log.text();
    let e2e = r#""e2e_table":{"e2e_total_ms":31.0,"e2e_total_tokens":2,"transfers_total_time_ms":0.0,"#
        .to_owned()
        + r#""transfers_total_bytes":0,"queue_time_ms":6.0,"unattributed_time_ms":6.0,"#
        + r#""real_time_factor":1.55,"waiting_time_ms":4.0,"errors":2,"error":"no voice","#
        + r#""finish_reason":"stop"}"#;
    assert!(text.contains(&e2e), "{text}");
    let row = r#"{"stage_id":0,"batch_id":null,"batch_size":2,"num_tokens_in":null,"num_tokens_out":2,"#
        .to_owned()
        + r#""preprocess_time_ms":null,"stage_gen_time_ms":25.0,"stage_name":"talker","busy_time_ms":25.0,"#
        + r#""queue_time_ms":4.0,"start_ms":6.0,"first_output_ms":11.0,"time_per_output_token_ms":20.0,"#
        + r#""num_tokens_cached":3,"num_tokens_reasoning":1,"outputs":2,"last_output_ms":31.0,"#
        + r#""inter_output_mean_ms":20.0,"inter_output_max_ms":20.0,"media_ms":20.0,"real_time_factor":1.25,"#
        + r#""underruns":1,"underrun_total_ms":10.0,"share_time_ms":12.5,"waiting_time_ms":4.0,"events":2,"#
        + r#""fields":{"note":"n"}}"#;
    assert!(text.contains(&row), "{text}");
    assert!(text.contains(r#""schema":1"#));
    let first = text.lines().next().unwrap();
    let line: omni_metrics::Line = first.parse().unwrap();
    let omni_metrics::Line::Request(line) = line else { panic!("{first}") };
    assert_eq!(line.stage_table[0].media_ms.unwrap().as_f64(), 20.0, "it reads back");
}

#[test]
fn units_are_integers_floats_text_options_and_true() {
    let line = inside(|_| {
        let stage = stage();
        stage.record("output", 2_u8);
        stage.record("output", 3_i64);
        stage.record("output", 4.0);
        stage.record("output", "5");
        stage.record("output", true);
        stage.record("output", tracing::field::display(6));
        stage.record("output", tracing::field::debug(Some(7)));
        stage.record("output", Some(8));
        stage.record("output", 9_u128);
        stage.record("output", 0);
        // An absent value is no recording.
        stage.record("output", None::<u64>);
    });
    let row = &line["stage_table"][0];
    let units = 2 + 3 + 4 + 5 + 1 + 6 + 7 + 8 + 9;
    assert_eq!(members(row, ["outputs", "num_tokens_out"]), [json!(10), json!(units)]);
    assert_eq!(warnings(&line), [""; 0]);
}

#[test]
fn a_value_that_is_no_number_of_units_is_no_output_and_warns_of_span_field_and_value() {
    let line = inside(|rig| {
        let stage = stage();
        stage.record("output", 1);
        rig.wait_ms(5);
        stage.record("output", false);
        stage.record("output", -1);
        stage.record("output", -1.0);
        stage.record("output", f64::NAN);
        stage.record("output", f64::INFINITY);
        stage.record("output", 1.5);
        stage.record("output", "a chunk");
        stage.record("output", i128::MAX);
        stage.record("output_media_ms", -2.5);
        stage.record("output_media_ms", f64::NAN);
        stage.record("output_media_ms", true);
        stage.record("output_media_ms", "long");
    });
    let row = &line["stage_table"][0];
    assert_eq!(
        members(row, ["outputs", "num_tokens_out", "last_output_ms", "media_ms", "underruns"]),
        [json!(1), json!(1), json!(0.0), Value::Null, Value::Null]
    );
    let about = |field: &str, values: &[&str]| {
        let sentence = |value: &&str| format!("span `stage`, field `{field}`, value `{value}`: ");
        values.iter().map(sentence).collect::<Vec<_>>()
    };
    let mut expected =
        about("output", &["false", "-1", "-1.0", "NaN", "inf", "1.5", "a chunk", &i128::MAX.to_string()]);
    expected.extend(about("output_media_ms", &["-2.5", "NaN", "true", "long"]));
    let warnings = warnings(&line);
    assert_eq!(warnings.len(), expected.len(), "{warnings:#?}");
    for (warning, beginning) in warnings.iter().zip(&expected) {
        assert!(warning.starts_with(beginning) && warning.ends_with("treated as not recorded"), "{warning}");
    }
}

#[test]
fn an_output_at_creation_is_at_that_moment() {
    let line = inside(|rig| {
        rig.wait_ms(3);
        let stage = info_span!("stage", stage_id = 0, output = 2, output_media_ms = 40);
        rig.wait_ms(4);
        stage.in_scope(|| rig.wait_ms(1));
        drop(stage);
        drop(info_span!("stage", stage_id = 1, output = true));
        drop(info_span!("stage", stage_id = 2, output = "3", output_media_ms = "1.5"));
        drop(info_span!("stage", stage_id = 3, output = false));
    });
    let rows = &line["stage_table"];
    assert_eq!(
        members(&rows[0], ["outputs", "num_tokens_out", "first_output_ms", "last_output_ms", "media_ms"]),
        [json!(1), json!(2), json!(3.0), json!(3.0), json!(40.0)]
    );
    assert_eq!(members(&rows[1], ["outputs", "num_tokens_out"]), [json!(1), json!(1)]);
    assert_eq!(members(&rows[2], ["num_tokens_out", "media_ms"]), [json!(3), json!(1.5)]);
    assert_eq!(members(&rows[3], ["outputs", "first_output_ms"]), [Value::Null, Value::Null]);
    assert_eq!(warnings(&line).len(), 1);
}

#[test]
fn the_first_output_is_the_earlier_of_first_output_and_output() {
    let line = inside(|rig| {
        for (stage_id, first) in [(0, "first_output"), (1, "output")] {
            let stage =
                info_span!("stage", stage_id, first_output = Empty, output = Empty, num_tokens_out = 4);
            rig.wait_ms(2);
            stage.record(first, true);
            rig.wait_ms(3);
            stage.record("first_output", true);
            stage.record("output", true);
            rig.wait_ms(3);
            stage.record("output", true);
        }
    });
    let names = ["first_output_ms", "last_output_ms", "time_per_output_token_ms", "outputs"];
    let rows = &line["stage_table"];
    assert_eq!(members(&rows[0], names), [json!(2.0), json!(8.0), json!(2.0), json!(2)]);
    assert_eq!(members(&rows[1], names), [json!(10.0), json!(16.0), json!(2.0), json!(3)]);
}

#[test]
fn recorded_tokens_replace_the_units_of_all_spans_of_the_row() {
    let line = inside(|_| {
        let chunk = |tokens: Option<u64>| {
            info_span!("stage", stage_id = 0, output = 5, num_tokens_out = tokens);
            info_span!("stage", stage_id = 1, output = 5);
        };
        [None, Some(2), None].into_iter().for_each(chunk);
    });
    assert_eq!(line["stage_table"][0]["num_tokens_out"], 2, "it was recorded on one span");
    assert_eq!(line["stage_table"][1]["num_tokens_out"], 15);
    assert_eq!(line["e2e_table"]["e2e_total_tokens"], 17);
}

#[test]
fn units_that_do_not_fit_stay_at_the_largest_count_with_a_warning() {
    let line = inside(|_| {
        let stage = stage();
        stage.record("output", u64::MAX);
        stage.record("output", 1);
    });
    assert_eq!(line["stage_table"][0]["num_tokens_out"], u64::MAX);
    assert!(warnings(&line)[0].contains("span `stage`, field `output`, value `1`"), "{line:#}");
}

#[test]
fn cached_and_reasoning_tokens_add_up_like_the_others() {
    let line = inside(|_| {
        for _ in 0..2 {
            let stage = info_span!(
                "stage",
                stage_id = 0,
                num_tokens_in = 10,
                num_tokens_out = 5,
                num_tokens_cached = 7,
                num_tokens_reasoning = "2"
            );
            stage.in_scope(|| info_span!("stage", stage_id = 0, num_tokens_cached = 1));
        }
        drop(info_span!("stage", stage_id = 1, num_tokens_cached = -1));
    });
    let row = &line["stage_table"][0];
    assert_eq!(members(row, ["num_tokens_cached", "num_tokens_reasoning"]), [json!(16), json!(4)]);
    assert_eq!(line["e2e_table"]["e2e_total_tokens"], 30, "they are parts of the others");
    assert_eq!(line["stage_table"][1].get("num_tokens_cached"), None);
    assert!(warnings(&line)[0].starts_with("span `stage`, field `num_tokens_cached`, value `-1`"));
}

#[test]
fn the_player_starts_with_the_first_chunk_and_waits_for_each_that_is_late() {
    let line = inside(|rig| {
        let stage = stage();
        // Of 10, it is late by 4; the next in time; the last late by 21.
        for (wait, media) in [(7, 10.0), (14, 10.0), (5, 4.0), (30, 2.5)] {
            rig.wait_ms(wait);
            stage.record("output", 1);
            stage.record("output_media_ms", media);
        }
        rig.wait_ms(500);
    });
    let row = &line["stage_table"][0];
    assert_eq!(
        members(row, ["underruns", "underrun_total_ms", "media_ms"]),
        [json!(2), json!(4.0 + 21.0), json!(26.5)],
        "nothing to play after the last chunk is no underrun"
    );
}

#[test]
fn a_player_that_always_has_something_to_play_has_no_underrun() {
    let line = inside(|rig| {
        let stage = stage();
        for _ in 0..5 {
            record_all!(stage, output = 1, output_media_ms = 10.0);
            rig.wait_ms(10);
        }
    });
    assert_eq!(
        members(&line["stage_table"][0], ["underruns", "underrun_total_ms", "media_ms"]),
        [json!(0), json!(0.0), json!(50.0)]
    );
}

#[test]
fn media_is_recorded_before_beside_or_after_its_output() {
    let orders: [fn(&Span, f64); 4] = [
        |stage, media| {
            stage.record("output_media_ms", media);
            stage.record("output", 1);
        },
        |stage, media| {
            stage.record("output", 1);
            stage.record("output_media_ms", media);
        },
        |stage, media| {
            record_all!(stage, output = 1, output_media_ms = media);
        },
        |stage, media| {
            record_all!(stage, output_media_ms = media, output = 1);
        },
    ];
    for record in orders {
        let line = inside(|rig| {
            let stage = stage();
            for (wait, media) in [(1, 10.0), (14, 3.0), (5, 4.0)] {
                rig.wait_ms(wait);
                record(&stage, media);
            }
        });
        let row = &line["stage_table"][0];
        assert_eq!(
            members(row, ["underruns", "underrun_total_ms", "media_ms"]),
            [json!(2), json!(4.0 + 2.0), json!(17.0)]
        );
    }
}

#[test]
fn media_without_an_output_counts_and_is_not_played() {
    let line = inside(|rig| {
        let stage = stage();
        stage.in_scope(|| rig.wait_ms(5));
        stage.record("output_media_ms", 20);
    });
    let row = &line["stage_table"][0];
    assert_eq!(
        members(row, ["media_ms", "real_time_factor", "outputs", "underruns", "first_output_ms"]),
        [json!(20.0), json!(0.25), Value::Null, Value::Null, Value::Null]
    );
}

#[test]
fn media_of_a_span_without_an_output_goes_to_no_chunk_of_another_span() {
    for order in [[0, 1, 2], [1, 0, 2], [2, 1, 0], [1, 2, 0]] {
        let line = inside(|rig| {
            let chunks = [0, 1, 2].map(|_| stage());
            chunks[0].record("output_media_ms", 100);
            for (chunk, wait) in [(1, 2), (2, 30)] {
                rig.wait_ms(wait);
                record_all!(chunks[chunk], output = 1, output_media_ms = 10);
            }
            let mut chunks = chunks.map(Some);
            order.into_iter().for_each(|at: usize| drop(chunks[at].take()));
        });
        let row = &line["stage_table"][0];
        assert_eq!(
            members(row, ["media_ms", "underruns", "underrun_total_ms"]),
            [json!(120.0), json!(1), json!(20.0)],
            "{order:?}"
        );
    }
}

#[test]
fn the_real_time_factor_of_the_request_is_its_time_by_the_longest_media_of_its_rows() {
    let line = inside(|rig| {
        for (stage_id, media, wait) in [(0, 40, 10), (1, 30, 30), (2, 0, 5)] {
            let stage = info_span!("stage", stage_id, output = 1, output_media_ms = media).entered();
            rig.wait_ms(wait);
            drop(stage);
        }
        rig.wait_ms(5);
    });
    let factors: Vec<_> = (0..3).map(|at| line["stage_table"][at].get("real_time_factor")).collect();
    assert_eq!(factors, [Some(&json!(0.25)), Some(&json!(1.0)), None], "nothing is divided by zero");
    assert_eq!(line["e2e_table"]["real_time_factor"], json!(1.25));
}

#[test]
fn a_recorded_time_is_what_the_real_time_factor_divides() {
    let line = inside(|rig| {
        let stage = info_span!("stage", stage_id = 0, output_media_ms = 30, stage_gen_time_ms = 10).entered();
        rig.wait_ms(50);
        drop(stage);
    });
    assert_eq!(line["stage_table"][0]["real_time_factor"], json!(0.333333));
    assert_eq!(line["e2e_table"]["real_time_factor"], json!(1.666667));
}

#[test]
fn outputs_of_a_part_inside_of_its_stage_count() {
    let line = inside(|rig| {
        let outer = stage();
        outer.in_scope(|| {
            rig.wait_ms(1);
            outer.record("output", 1);
            let part = stage().entered();
            rig.wait_ms(2);
            part.record("output", 10);
            part.record("output_media_ms", 5);
            drop(part);
            rig.wait_ms(3);
            outer.record("output", 100);
        });
    });
    let row = &line["stage_table"][0];
    assert_eq!(
        members(
            row,
            ["outputs", "num_tokens_out", "inter_output_mean_ms", "inter_output_max_ms", "media_ms"]
        ),
        [json!(3), json!(111), json!(2.5), json!(3.0), json!(5.0)]
    );
    assert_eq!(row["stage_gen_time_ms"], json!(6.0));
}

#[test]
fn a_stage_whose_first_output_is_on_the_outer_span_and_the_rest_on_many_parts_keeps_its_beginning() {
    for parts in [1, 60, 200, 1_000] {
        let line = inside(|rig| {
            let outer = stage();
            let entered = outer.enter();
            rig.wait_ms(7);
            record_all!(outer, output = 1, output_media_ms = 1);
            for _ in 0..parts {
                rig.wait_ms(2);
                let part = stage();
                record_all!(part, output = 1, output_media_ms = 1);
            }
            drop(entered);
        });
        let row = &line["stage_table"][0];
        assert_eq!(
            members(row, ["first_output_ms", "inter_output_mean_ms", "inter_output_max_ms", "outputs"]),
            [json!(7.0), json!(2.0), json!(2.0), json!(parts + 1)]
        );
        assert_eq!(members(row, ["underruns", "underrun_total_ms"]), [json!(parts), json!(f64::from(parts))]);
    }
}

#[test]
fn chunks_of_a_span_that_closes_long_after_later_ones_are_in_their_place() {
    let line = inside(|rig| {
        let early = stage();
        for wait in [1, 2, 3] {
            rig.wait_ms(wait);
            record_all!(early, output = 1, output_media_ms = 2);
        }
        for _ in 0..300 {
            rig.wait_ms(5);
            let chunk = stage();
            record_all!(chunk, output = 1, output_media_ms = 5);
        }
        drop(early);
    });
    let row = &line["stage_table"][0];
    assert_eq!(
        members(row, ["first_output_ms", "last_output_ms", "inter_output_max_ms", "outputs"]),
        [json!(1.0), json!(1506.0), json!(5.0), json!(303)]
    );
    assert_eq!(row["inter_output_mean_ms"], json!(4.983443));
    assert_eq!(members(row, ["underruns", "underrun_total_ms"]), [json!(2), json!(1.0 + 3.0)]);
}

#[test]
fn many_chunks_of_a_span_that_closes_after_many_later_ones_are_in_their_place() {
    let run = |is_one: bool| {
        inside(|rig| {
            let early = stage();
            for at in 0..400_u64 {
                rig.time.advance(Duration::from_micros(100 + at % 7));
                let chunk = if is_one || at < 100 { early.clone() } else { stage() };
                record_all!(chunk, output = 1, output_media_ms = 0.1);
            }
        })
    };
    assert_eq!(row_of_outputs(&run(true)), row_of_outputs(&run(false)));
}

#[test]
fn two_spans_whose_many_chunks_alternate_equal_one_long_span() {
    let run = |spans: usize| {
        inside(|rig| {
            let stages: Vec<_> = (0..spans).map(|_| stage()).collect();
            for at in 0..200 {
                rig.time.advance(Duration::from_micros(100 + at as u64 % 7));
                record_all!(stages[at % spans], output = 1, output_media_ms = 0.1);
            }
        })
    };
    assert_eq!(row_of_outputs(&run(1)), row_of_outputs(&run(2)));
}

#[test]
fn units_on_a_span_of_several_requests_go_to_none_of_them_and_warn() {
    let lines = lines(|rig| {
        let requests = ["a", "b", "c"].map(|id| info_span!("request", request_id = id));
        let batch = info_span!(
            "stage",
            stage_id = 0,
            output = Empty,
            output_media_ms = Empty,
            num_tokens_cached = 4,
            num_tokens_reasoning = 5
        );
        requests.iter().for_each(|request| {
            batch.follows_from(request);
        });
        let entered = batch.enter();
        for _ in 0..2 {
            rig.wait_ms(4);
            record_all!(batch, output = 8, output_media_ms = 30);
        }
        drop(info_span!("stage", stage_id = 0, request_id = "b", output = 3));
        drop(entered);
        drop((batch, requests));
    });
    assert_eq!(lines.len(), 3);
    for (line, tokens) in lines.iter().zip([Value::Null, json!(3), Value::Null]) {
        let row = &line["stage_table"][0];
        let names = ["num_tokens_out", "num_tokens_cached", "num_tokens_reasoning", "media_ms"];
        assert_eq!(
            members(row, names),
            [tokens, Value::Null, Value::Null, json!(60.0)],
            "each request hears the whole media"
        );
        let fields = ["num_tokens_cached", "num_tokens_reasoning", "output"];
        let values = ["4", "5", "16"];
        let warnings = warnings(line);
        assert_eq!(warnings.len(), 3, "{warnings:#?}");
        for ((field, value), warning) in fields.iter().zip(values).zip(&warnings) {
            let beginning =
                format!("span `stage`, field `{field}`, value `{value}`: a total of the 3 requests");
            assert!(warning.starts_with(&beginning), "{warning}");
        }
    }
    let outputs: Vec<_> = lines.iter().map(|line| line["stage_table"][0]["outputs"].clone()).collect();
    assert_eq!(outputs, [2, 3, 2], "the moments are everybody's");
    assert_eq!(lines[0]["stage_table"][0]["inter_output_max_ms"], json!(4.0));
}

#[test]
fn units_on_a_span_of_a_batch_of_one_are_the_requests_own() {
    let line = line(|_| {
        let request = info_span!("request", request_id = "a");
        let batch = info_span!("stage", stage_id = 0, output = 8, num_tokens_cached = 2);
        batch.follows_from(&request);
    });
    let row = &line["stage_table"][0];
    assert_eq!(members(row, ["num_tokens_out", "num_tokens_cached"]), [json!(8), json!(2)]);
    assert_eq!(warnings(&line), [""; 0]);
}

#[test]
fn a_detached_row_counts_its_outputs_from_its_own_start() {
    let line = line(|rig| {
        rig.wait_ms(1);
        let stage = info_span!(
            "stage",
            stage_id = 0,
            request_id = "elsewhere",
            output = Empty,
            output_media_ms = Empty
        );
        rig.wait_ms(2);
        let entered = stage.enter();
        for wait in [3, 4, 6] {
            rig.wait_ms(wait);
            record_all!(stage, output = 1, output_media_ms = 4);
        }
        drop(entered);
    });
    assert_eq!((&line["type"], &line["request_id"]), (&json!("stage"), &json!("elsewhere")));
    let moments = ["first_output_ms", "last_output_ms", "waiting_time_ms", "share_time_ms", "start_ms"];
    assert_eq!(members(&line, moments), [const { Value::Null }; 5]);
    assert_eq!(
        members(&line, ["first_output_after_ms", "last_output_after_ms", "wall_time_ms", "queue_time_ms"]),
        [json!(3.0), json!(13.0), json!(13.0), json!(2.0)]
    );
    assert_eq!(
        members(&line, ["outputs", "num_tokens_out", "inter_output_mean_ms", "inter_output_max_ms"]),
        [json!(3), json!(3), json!(5.0), json!(6.0)]
    );
    assert_eq!(
        members(&line, ["media_ms", "real_time_factor", "underruns", "underrun_total_ms"]),
        [json!(12.0), json!(1.083333), json!(1), json!(2.0)]
    );
    assert_eq!(line["time_per_output_token_ms"], json!(5.0));
}

#[test]
fn the_percentiles_have_every_gap_of_a_stage_and_the_real_time_factors() {
    let rig = Rig::new();
    rig.run(|rig| {
        // The first has one gap of 900 ms, the second 98 of 10 ms, the detached one another.
        for (gaps, millis) in [(1, 900), (98, 10)] {
            let _request = info_span!("request", request_id = "r").entered();
            let stage = stage();
            let _entered = stage.enter();
            stage.record("output", 1);
            for _ in 0..gaps {
                rig.wait_ms(millis);
                record_all!(stage, output = 1, output_media_ms = 10);
            }
        }
        let detached = stage();
        detached.record("output", 1);
        rig.wait_ms(10);
        detached.record("output", 1);
    });
    let percentiles = rig.handle.snapshot().percentiles;
    let gaps = percentiles.stages[0].inter_output_ms.unwrap();
    assert_eq!((gaps.count, gaps.max.as_f64(), gaps.mean.as_f64()), (100, 900.0, 18.9));
    for tenth in [gaps.p50, gaps.p90] {
        assert!((tenth.as_f64() - 10.0).abs() < 0.1, "{tenth}");
    }
    let factors = percentiles.stages[0].real_time_factor.unwrap();
    assert_eq!((factors.count, factors.max, factors.mean), (2, 90.0, 45.5));
    let factors = percentiles.real_time_factor.unwrap();
    assert_eq!((factors.count, factors.max, factors.mean), (2, 90.0, 45.5));
}

#[test]
fn the_largest_real_time_factor_of_the_run_is_exact() {
    // Binary fractions a little below these millionths.
    for micros in [249, 511, 983, 250_001, 250_049, 1_000_021] {
        let rig = Rig::new();
        let lines = rig.run(|rig| {
            let _request = info_span!("request", request_id = "r").entered();
            let stage = info_span!("stage", stage_id = 0, output = 1, output_media_ms = 1_000);
            stage.in_scope(|| rig.time.advance(Duration::from_micros(micros)));
        });
        let percentiles = rig.handle.snapshot().percentiles;
        let (e2e, row) = (&lines[0]["e2e_table"], &lines[0]["stage_table"][0]);
        assert_eq!(json!(percentiles.real_time_factor.unwrap().max), e2e["real_time_factor"]);
        assert_eq!(json!(percentiles.stages[0].real_time_factor.unwrap().max), row["real_time_factor"]);
    }
}

/// The row of the request, without what differs between one span and many: their times and their number.
fn row_of_outputs(line: &Value) -> Value {
    let mut row = line["stage_table"][0].clone();
    let members = row.as_object_mut().unwrap();
    for name in
        ["events", "stage_gen_time_ms", "busy_time_ms", "queue_time_ms", "start_ms", "real_time_factor"]
    {
        members.remove(name);
    }
    row
}

fn record_chunk(span: &Span, (units, media): (u64, Option<u64>)) {
    span.record("output", units);
    if let Some(media) = media {
        span.record("output_media_ms", media);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Chunks of (wait, units, media) in one span, and the same ones in spans of their own of random sizes.
    #[test]
    fn several_spans_a_chunk_each_equal_one_long_span(
        chunks in prop::collection::vec((0..20_u64, 0..5_u64, prop::option::of(0..30_u64)), 1..300),
        sizes in prop::collection::vec(1..250_usize, 1..20),
    ) {
        let one = inside(|rig| {
            let stage = stage();
            for (wait, units, media) in &chunks {
                rig.wait_ms(*wait);
                record_chunk(&stage, (*units, *media));
            }
        });
        let several = inside(|rig| {
            let mut rest = chunks.as_slice();
            for size in sizes.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (now, later) = rest.split_at(*size.min(&rest.len()));
                let stage = stage();
                for (wait, units, media) in now {
                    rig.wait_ms(*wait);
                    record_chunk(&stage, (*units, *media));
                }
                rest = later;
            }
        });
        prop_assert_eq!(without_underruns(&one), without_underruns(&several));
    }

    /// Spans that overlap and close in any order: up to 60 chunks, each on one of them.
    #[test]
    fn spans_that_overlap_and_close_out_of_order_equal_one_long_span(
        chunks in prop::collection::vec(
            (0..20_u64, 0..5_u64, prop::option::of(0..30_u64), 0..8_usize), 1..60),
        order in Just([0, 1, 2, 3, 4, 5, 6, 7_usize]).prop_shuffle(),
    ) {
        let run = |spans: usize| inside(|rig| {
            let mut stages: Vec<_> = (0..spans).map(|_| Some(stage())).collect();
            for (wait, units, media, at) in &chunks {
                rig.wait_ms(*wait);
                record_chunk(stages[at % spans].as_ref().unwrap(), (*units, *media));
            }
            order.iter().filter(|at| **at < spans).for_each(|at| drop(stages[*at].take()));
        });
        prop_assert_eq!(row_of_outputs(&run(1)), row_of_outputs(&run(8)));
    }

    /// A span a chunk, of which any may close later than up to 60 others that came after it.
    #[test]
    fn a_span_a_chunk_that_closes_late_equals_one_long_span(
        chunks in prop::collection::vec(
            (1..20_u64, 0..5_u64, prop::option::of(0..30_u64), 0..60_usize), 1..300),
    ) {
        let one = inside(|rig| {
            let stage = stage();
            for (wait, units, media, _) in &chunks {
                rig.wait_ms(*wait);
                record_chunk(&stage, (*units, *media));
            }
        });
        let several = inside(|rig| {
            let mut open: Vec<(usize, Span)> = Vec::new();
            for (at, (wait, units, media, late)) in chunks.iter().enumerate() {
                rig.wait_ms(*wait);
                let stage = stage();
                record_chunk(&stage, (*units, *media));
                open.push((at + late, stage));
                open.retain(|(until, _)| *until > at);
            }
        });
        prop_assert_eq!(row_of_outputs(&one), row_of_outputs(&several));
    }
}

/// Of spans with more than 100 outputs each, the number of underruns is an upper bound.
fn without_underruns(line: &Value) -> Value {
    let mut row = row_of_outputs(line);
    row.as_object_mut().unwrap().remove("underruns");
    row
}

#[test]
fn outputs_from_many_threads_are_all_counted() {
    let rig = Rig::new();
    let (request, stage) = {
        let _default = rig.install();
        let request = info_span!("request", request_id = "r");
        let stage = request.in_scope(stage);
        (request, stage)
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..1_000 {
                    rig.time.advance(Duration::from_micros(1));
                    record_all!(stage, output = 2, output_media_ms = 0.001);
                }
            });
        }
    });
    // The registry lets go of a parent through the default subscriber.
    let default = rig.install();
    drop((stage, request));
    drop(default);
    let row = &rig.log.lines()[0]["stage_table"][0];
    assert_eq!(
        members(row, ["outputs", "num_tokens_out", "media_ms", "last_output_ms"]),
        [json!(4_000), json!(8_000), json!(4.0), json!(4.0)]
    );
    assert_eq!(rig.handle.snapshot().percentiles.stages[0].inter_output_ms.unwrap().count, 3_999);
}

#[test]
fn a_row_with_outputs_is_a_serde_type() {
    let line = inside(|rig| {
        let stage = stage();
        rig.time.advance(Duration::from_nanos(1_234_567));
        record_all!(stage, output = 2, output_media_ms = 0.5);
    });
    let row: StageRow = serde_json::from_value(line["stage_table"][0].clone()).unwrap();
    assert_eq!((row.outputs, row.num_tokens_out, row.underruns), (Some(1), Some(2), Some(0)));
    assert_eq!(row.last_output_ms.unwrap().as_nanos(), 1_234_567);
    assert_eq!(serde_json::to_value(&row).unwrap(), line["stage_table"][0]);
}

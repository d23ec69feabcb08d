//! Screens of a log with a mock clock.

use ratatui::{Terminal, backend::TestBackend};

use super::{app::App, follow::Read, keys::Key, log::Log, period::Period};
use crate::{
    E2eTable, FieldValue, Line, Millis, OpenLine, OpenRequest, OpenStage, OverallSummary, RequestLine,
    StageRow, SummaryLine, Timestamp,
    cli::{
        groups::By, log_line::LogLine, objectives::Objectives, parsed::Parsed, percentiles::PercentileArgs,
    },
};

const NOW: u64 = 1_769_860_800_000_000;

fn ms(millis: u64) -> Millis {
    Millis::from_nanos(millis * 1_000_000)
}

fn log_line(line: Line) -> LogLine {
    LogLine { line, ..LogLine::default() }
}

fn read(line: Line) -> Read {
    Read { parsed: Parsed::Line(Ok(log_line(line))), length: 1_000 }
}

/// The n-th request of a log: one each 100 ms, of which each tenth fails.
fn request(n: u64) -> RequestLine {
    let stage = |stage_id, start, length| StageRow {
        stage_id: Some(stage_id),
        stage_gen_time_ms: Some(ms(length)),
        queue_time_ms: Some(ms(1)),
        start_ms: Some(ms(start)),
        stage_name: Some(["thinker", "talker", "code2wav"][stage_id as usize].to_owned()),
        events: 1,
        ..StageRow::default()
    };
    let has_failed = n.is_multiple_of(10);
    RequestLine {
        timestamp: Timestamp::from_unix_micros(NOW + n * 100_000),
        request_id: format!("req-{n:04}"),
        overall_summary: OverallSummary { e2e_requests: n, ..OverallSummary::default() },
        e2e_table: E2eTable {
            e2e_total_ms: ms(100 + n),
            e2e_total_tokens: 50,
            queue_time_ms: Some(ms(1)),
            unattributed_time_ms: ms(9),
            error: has_failed.then(|| "the GPU is out of memory".to_owned()),
            finish_reason: Some(if has_failed { "error" } else { "stop" }.to_owned()),
            ..E2eTable::default()
        },
        stage_table: vec![stage(0, 1, 20), stage(1, 21, 30), stage(2, 60, 40 + n)],
        ..RequestLine::default()
    }
}

fn app(slo: &[&str], requests: u64) -> App {
    let objectives = Objectives { slo: slo.iter().map(|text| text.parse().unwrap()).collect() };
    let mut app = App::new(Log::new("service.log".to_owned(), &objectives, None, NOW), Period::default());
    (1..=requests).for_each(|n| app.add(read(Line::Request(request(n))), NOW + n * 100_000));
    app
}

fn screen(app: &mut App, (width, height): (u16, u16), now: u64) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| app.draw(frame, now)).unwrap();
    let shown = terminal.backend().to_string();
    let lines = shown.lines().map(|line| line.trim_matches('"').trim_end());
    lines.collect::<Vec<_>>().join("\n")
}

fn press(app: &mut App, keys: &str, now: u64) {
    for key in keys.chars() {
        let key = match key {
            '\n' => Key::Enter,
            '\x1b' => Key::Escape,
            key => Key::Char(key),
        };
        screen(app, (80, 24), now);
        assert!(app.press(key, now));
    }
}

#[test]
fn all_that_matters_is_on_80_columns_and_24_lines() {
    let mut app = app(&["e2e=150ms@99%", "gen@2=80ms"], 100);
    let shown = screen(&mut app, (80, 24), NOW + 10_500_000);
    assert_eq!(shown, include_str!("screens/list.txt").trim_end(), "\n{shown}");
}

/// A log of this number of stages, whose failures are of five kinds.
fn fleet(stages: u64) -> App {
    let mut app = app(&["e2e=150ms@99%", "gen@2=80ms"], 0);
    for n in 1..=100 {
        let mut line = request(n);
        let names = ["front", "thinker", "talker", "code2wav"];
        line.stage_table = (0..stages)
            .map(|stage_id| StageRow {
                stage_id: Some(stage_id),
                stage_gen_time_ms: Some(ms(10 + stage_id)),
                queue_time_ms: Some(ms(if stage_id == 3 { 40 } else { 1 })),
                start_ms: Some(ms(stage_id)),
                stage_name: Some(names.get(stage_id as usize).map_or("vocoder", |name| *name).to_owned()),
                events: 1,
                ..StageRow::default()
            })
            .collect();
        if n % 10 == 0 {
            line.e2e_table.error = Some(format!("worker {} is out of memory", n / 10 % 5));
        }
        app.add(read(Line::Request(line)), NOW + n * 100_000);
    }
    app
}

#[test]
fn each_stage_has_its_name_and_its_queue_and_what_has_no_room_is_counted() {
    let mut app = fleet(4);
    let shown = screen(&mut app, (80, 24), NOW + 10_500_000);
    assert_eq!(shown, include_str!("screens/fleet.txt").trim_end(), "\n{shown}");
    press(&mut app, "t", NOW + 10_500_000);
    let shown = screen(&mut app, (80, 24), NOW + 10_500_000);
    assert!(shown.contains("\nfailed by    ") && shown.contains("worker 4 is out of memory"), "{shown}");
    assert!(shown.contains("\nstage 2 talker queue") && !shown.contains("request_id"), "{shown}");
    let mut many = fleet(12);
    let shown = screen(&mut many, (80, 24), NOW + 10_500_000);
    assert!(shown.contains("\n8 of 12 stages  ") && !shown.contains("a second, at"), "{shown}");
    press(&mut many, "t", NOW + 10_500_000);
    let shown = screen(&mut many, (80, 24), NOW + 10_500_000);
    assert!(shown.contains("\nstage 11 vocoder "), "{shown}");
}

/// A log of 100 requests of 19 models, in groups. The models whose names come last have the most requests.
fn grouped(by: &str, slo: &[&str]) -> App {
    let objectives = Objectives { slo: slo.iter().map(|text| text.parse().unwrap()).collect() };
    let by = By::parse(by).unwrap();
    let log = Log::new("service.log".to_owned(), &objectives, Some(&by), NOW);
    let mut app = App::new(log, Period::default());
    for n in 1..=100_u64 {
        let mut line = request(n);
        let model = format!("model-{:02}", (n * 4).isqrt() - 1);
        line.fields.insert("model".into(), FieldValue::Text(model));
        app.add(read(Line::Request(line)), NOW + n * 100_000);
    }
    app
}

#[test]
fn groups_are_shown_in_place_of_the_times_of_stages_until_a_key_changes_that() {
    let now = NOW + 10_500_000;
    let mut app = grouped("fields.model", &["e2e=150ms@99%", "gen@2=80ms"]);
    let shown = screen(&mut app, (80, 24), now);
    assert_eq!(shown, include_str!("screens/groups.txt").trim_end(), "\n{shown}");
    press(&mut app, "g", now);
    let stages = screen(&mut app, (80, 24), now);
    assert!(stages.contains("\nstage 2 code2wav ") && !stages.contains("model-"), "{stages}");
    press(&mut app, "g", now);
    assert_eq!(screen(&mut app, (80, 24), now), shown);
    press(&mut app, "t", now);
    let all = screen(&mut app, (80, 24), now);
    assert!(all.contains("\nfields.model: 14 of 19 ") && !all.contains("others"), "{all}");
}

#[test]
fn groups_that_are_not_told_apart_have_a_row_in_a_small_terminal_too() {
    let by = By::parse("request_id").unwrap();
    let log = Log::new("service.log".to_owned(), &Objectives::default(), Some(&by), NOW);
    let mut app = App::new(log, Period::default());
    for n in 1..=300 {
        app.add(read(Line::Request(request(n))), NOW + n * 10_000);
    }
    for (size, rows) in [((80, 24), 5), ((120, 60), 16)] {
        let shown = screen(&mut app, size, NOW + 3_500_000);
        let head = format!("request_id: {rows} of 257 ");
        let mut table = shown.lines().skip_while(|line| !line.starts_with(&head));
        let last = table.nth(rows).unwrap_or(&shown);
        assert!(last.starts_with("others  ") && last.contains(" 44 "), "{shown}");
    }
}

#[test]
fn groups_of_stages_count_rows_and_little_room_has_fewer_columns() {
    let now = NOW + 10_500_000;
    let mut app = grouped("stage_name,finish_reason", &[]);
    let shown = screen(&mut app, (80, 24), now);
    assert!(shown.contains("rows        /s   failed     gen p50     gen p99\n"), "{shown}");
    let rows: Vec<_> = shown.lines().filter(|line| line.contains(", stop ")).collect();
    assert!(rows.len() == 3 && rows[0].starts_with("code2wav, stop "), "{shown}");
    let narrow = screen(&mut app, (50, 24), now);
    assert!(narrow.contains("rows        /s     gen p99\n") && !narrow.contains("failed  "), "{narrow}");
    let mut without = grouped("fields.nothing", &[]);
    let shown = screen(&mut without, (80, 24), now);
    assert!(shown.contains("\n--by: no request has the field nothing; fields are model\n"), "{shown}");
    assert!(shown.contains("\nnone ") && shown.contains("g groups"), "{shown}");
}

#[test]
fn chosen_percentiles_are_columns_and_those_without_room_are_counted() {
    let now = NOW + 10_500_000;
    let percentiles = |list: &str| {
        let log = Log::new("service.log".to_owned(), &Objectives::default(), None, NOW);
        let mut app = App::new(log.with_percentiles(PercentileArgs::of(list)), Period::default());
        (1..=100).for_each(|n| app.add(read(Line::Request(request(n))), NOW + n * 100_000));
        app
    };
    let shown = screen(&mut percentiles("25,99.9"), (80, 24), now);
    let head = "last 1m                    count         p25       p99.9         max queue p99.9\n";
    assert!(shown.contains(head) && !shown.contains("have room"), "{shown}");
    let row = "e2e                          100     125.305     200.000     200.000       1.000\n";
    assert!(shown.contains(row), "{shown}");
    let mut many = percentiles("10,25,50,90,99,99.9");
    let shown = screen(&mut many, (80, 24), now);
    assert!(shown.contains("\n3 of 6 percentiles have room; --json has all\n"), "{shown}");
    assert!(shown.contains("count         p10         p25       p99.9 queue p99.9\n"), "{shown}");
    assert_eq!(shown.lines().count(), 24);
    let wide = screen(&mut many, (132, 24), now);
    assert!(wide.contains("p90         p99       p99.9         max queue p99.9\n"), "{wide}");
    assert!(!wide.contains("have room"), "{wide}");
}

#[test]
fn an_objective_of_a_stage_that_no_request_has_is_named() {
    let mut app = app(&["gen@9=80ms"], 100);
    let shown = screen(&mut app, (80, 24), NOW + 10_500_000);
    let said = "No request has stage 9, so the objective gen@9=80ms does not count.";
    assert!(shown.contains(said), "{shown}");
}

#[test]
fn a_request_is_opened_with_where_its_time_went_and_its_tables() {
    let mut app = app(&[], 100);
    press(&mut app, "fj\n", NOW + 10_500_000);
    let shown = screen(&mut app, (80, 24), NOW + 10_500_000);
    assert_eq!(shown, include_str!("screens/request.txt").trim_end(), "\n{shown}");
}

#[test]
fn the_help_names_every_key_and_fits() {
    let mut app = app(&[], 1);
    press(&mut app, "?", NOW);
    let shown = screen(&mut app, (80, 24), NOW);
    assert!(shown.ends_with("any key: back   q quit") && shown.contains("stands for."), "{shown}");
}

#[test]
fn no_size_is_too_small_or_too_large_for_any_screen() {
    for keys in ["", "?", "\n", "\nllllllllljjjjjjjjjjjjjjj", "fjjj", "-", "+++ "] {
        let mut app = if keys == "-" { grouped("error", &[]) } else { app(&["e2e=150ms@99%"], 200) };
        press(&mut app, keys, NOW + 20_000_000);
        for width in [1, 2, 3, 5, 9, 17, 33, 34, 40, 50, 72, 80, 300] {
            for height in [1, 2, 3, 4, 5, 6, 9, 14, 24, 100] {
                let shown = screen(&mut app, (width, height), NOW + 20_000_000);
                assert_eq!(shown.split('\n').count(), usize::from(height));
            }
        }
    }
    let mut empty = app(&[], 0);
    press(&mut empty, "jk\n", NOW);
    assert!(screen(&mut empty, (80, 24), NOW).contains("service.log: 0 requests"));
}

#[test]
fn little_room_shows_the_rates_and_the_slowest_and_more_room_shows_all() {
    let mut app = app(&["e2e=150ms"], 100);
    let small = screen(&mut app, (40, 6), NOW + 10_500_000);
    assert!(small.starts_with("service.log: 100 requests") && small.contains("> req-0100"), "{small}");
    assert!(!small.contains("requests a second,"), "{small}");
    let large = screen(&mut app, (120, 130), NOW + 10_500_000);
    for text in
        ["stage 2 code2wav queue", "requests a second,", "objective", "failed by", "req-0070", "  req-0010"]
    {
        assert!(large.contains(text), "{text}\n{large}");
    }
}

#[test]
fn a_paused_view_stands_still_while_the_log_is_read_on() {
    let mut app = app(&[], 10);
    press(&mut app, " ", NOW + 1_000_000);
    let paused = screen(&mut app, (80, 24), NOW + 2_000_000);
    assert!(paused.starts_with("PAUSED  service.log: 10 requests\n"), "{paused}");
    app.add(read(Line::Request(request(11))), NOW + 2_000_000);
    assert_eq!(screen(&mut app, (80, 24), NOW + 500_000_000), paused);
    // Another period is computed for the same moment.
    press(&mut app, "-", NOW + 500_000_000);
    let shorter = screen(&mut app, (80, 24), NOW + 500_000_000);
    assert!(shorter.contains("last 30s (1.0 s seen): 10.0 requests/s"), "{shorter}");
    press(&mut app, " ", NOW + 2_000_000);
    assert!(screen(&mut app, (80, 24), NOW + 2_000_000).starts_with("service.log: 11 requests\n"));
}

#[test]
fn a_log_of_the_past_says_how_to_see_it() {
    let mut app = App::new(
        Log::new("service.log".to_owned(), &Objectives::default(), None, 2 * NOW),
        Period::default(),
    );
    (1..=100).for_each(|n| app.add(read(Line::Request(request(n))), 2 * NOW));
    let shown = screen(&mut app, (80, 24), 2 * NOW);
    assert!(shown.contains("\nthe log is older than that: `+` or --window all shows all of it\n"), "{shown}");
    press(&mut app, "++", 2 * NOW);
    let shown = screen(&mut app, (80, 24), 2 * NOW);
    assert!(shown.contains("whole log: 10.") && shown.contains("at most 10"), "{shown}");
    assert!(!shown.contains("older"), "{shown}");
}

#[test]
fn figures_are_new_each_second_and_after_each_key() {
    let mut app = app(&[], 10);
    assert!(screen(&mut app, (80, 24), NOW + 1_000_000).contains(": 10 requests"));
    app.add(read(Line::Request(request(11))), NOW + 1_100_000);
    assert!(screen(&mut app, (80, 24), NOW + 1_900_000).contains(": 10 requests"));
    assert!(screen(&mut app, (80, 24), NOW + 2_000_000).contains(": 11 requests"));
    app.add(read(Line::Request(request(12))), NOW + 2_000_000);
    press(&mut app, "s", NOW + 2_100_000);
    assert!(screen(&mut app, (80, 24), NOW + 2_100_000).contains(": 12 requests"));
}

#[test]
fn a_sampled_log_is_weighted_and_says_so() {
    let mut app = app(&[], 0);
    let line = RequestLine { sample_rate: Some(1_000), ..request(10) };
    app.add(read(Line::Request(line)), NOW + 1_000_000);
    let shown = screen(&mut app, (80, 24), NOW + 2_000_000);
    for text in ["sampled: 1 line stands for about 1,000 requests", ": 500.0 requests/s, 25,000.0 tokens/s"] {
        assert!(shown.contains(text), "{shown}");
    }
}

#[test]
fn a_request_that_a_report_names_is_listed_until_it_ends() {
    let mut app = app(&[], 0);
    let age_ms = ms(12_000);
    let stage = OpenStage { stage_id: Some(1), age_ms, ..OpenStage::default() };
    let request = OpenRequest {
        request_id: Some("hangs".to_owned()),
        age_ms,
        open_stages: vec![stage],
        ..OpenRequest::default()
    };
    let report = SummaryLine {
        open_requests: Some(1),
        oldest_age_ms: Some(age_ms),
        lines_lost: Some(2),
        ..SummaryLine::default()
    };
    app.add(read(Line::Summary(report)), NOW);
    app.add(read(Line::Open(OpenLine { request, ..OpenLine::default() })), NOW);
    let shown = screen(&mut app, (80, 24), NOW);
    let report = "last report: 1 open request, the oldest for 12.0 s, 2 lines lost";
    assert!(shown.contains(report) && shown.contains("> hangs"), "{shown}");
    press(&mut app, "\n", NOW);
    assert!(screen(&mut app, (80, 24), NOW).contains("OpenRequest hangs"));
    let e2e_table = E2eTable { e2e_total_ms: age_ms, ..E2eTable::default() };
    let ended = RequestLine { request_id: "hangs".to_owned(), e2e_table, ..RequestLine::default() };
    app.add(read(Line::Request(ended)), NOW);
    press(&mut app, "\x1b", NOW);
    assert!(!screen(&mut app, (80, 24), NOW + 1_000_000).contains("> hangs"));
}

#[test]
fn control_characters_do_not_reach_the_terminal() {
    let mut app = app(&[], 0);
    let line = RequestLine { request_id: "a\x1b[2J\u{202e}b".to_owned(), ..request(10) };
    app.add(read(Line::Request(line)), NOW + 1_000_000);
    for keys in ["", "\n"] {
        press(&mut app, keys, NOW + 1_000_000);
        let shown = screen(&mut app, (80, 24), NOW + 1_000_000);
        assert!(shown.contains(r"a\u{1b}[2J\u{202e}b"), "{shown}");
    }
}

#[test]
fn a_line_that_is_too_long_to_keep_is_listed_and_the_command_for_it_is_named() {
    let mut app = app(&[], 0);
    let parsed = Parsed::Line(Ok(log_line(Line::Request(request(10)))));
    app.add(Read { parsed, length: 1 << 20 }, NOW + 1_000_000);
    press(&mut app, "\n", NOW + 1_000_000);
    let shown = screen(&mut app, (80, 24), NOW + 1_000_000);
    assert!(shown.contains("omni-metrics tables --request 'req-0010' service.log"), "{shown}");
}

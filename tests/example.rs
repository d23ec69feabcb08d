//! The example does its job: real stages, real transfers, one line a request, and a summary.

use std::{env, fs, path::PathBuf, process::Command};

use omni_metrics::{Line, Millis, RequestLine};

fn run(name: &str, arguments: &[&str]) -> (String, String, PathBuf) {
    let out = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let output = Command::new(env!("CARGO"))
        .args(["run", "-q", "--example", "omni_pipeline", "--"])
        .args(arguments)
        .arg("--out")
        .arg(&out)
        .output()
        .unwrap();
    let (stdout, stderr) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{stderr}");
    (stdout, stderr, out)
}

fn request(line: &str) -> RequestLine {
    match line.parse() {
        Ok(Line::Request(request)) => request,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn with_log_stats_it_prints_a_whole_line_for_each_request_and_the_summary() {
    let (_, stderr, out) =
        run("pipeline", &["--log-stats", "--summary", "--requests", "10", "--concurrency", "5"]);
    let (lines, summary) = stderr.trim_end().rsplit_once('\n').unwrap();
    let Ok(Line::Summary(summary)) = summary.parse() else { panic!("{summary}") };
    let requests: Vec<_> = lines.lines().map(request).collect();
    assert_eq!((requests.len(), summary.overall_summary.e2e_requests), (10, 10));
    for request in &requests {
        assert!(request.warnings.is_empty(), "{:?}", request.warnings);
        let stages: Vec<_> = request.stage_table.iter().map(|row| row.stage_id).collect();
        assert_eq!(stages, [Some(0), Some(1), Some(2)]);
        let edges: Vec<_> = request.transfer_table.iter().map(|row| (row.from_stage, row.to_stage)).collect();
        assert_eq!(edges, [(Some(0), Some(1)), (Some(1), Some(2))]);
        for row in &request.stage_table {
            assert!(row.first_output_ms.is_some() && row.num_tokens_in > Some(0), "{row:?}");
            assert!(row.busy_time_ms <= row.stage_gen_time_ms);
        }
        for row in &request.transfer_table {
            let times = [row.tx_time_ms, row.rx_decode_time_ms, row.in_flight_time_ms];
            assert!(
                row.size_bytes > Some(0) && times.iter().all(|time| *time > Some(Millis::ZERO)),
                "{row:?}"
            );
        }
        // What one stage makes, the next one takes.
        let [thinker, talker, code2wav] = &request.stage_table[..] else { panic!() };
        assert_eq!(thinker.num_tokens_out, talker.num_tokens_in);
        assert_eq!(talker.num_tokens_out, code2wav.num_tokens_in);
        assert_eq!(code2wav.outputs, Some(code2wav.num_tokens_in.unwrap().div_ceil(10)), "frames in a chunk");
        // 16 samples a millisecond.
        let media = code2wav.media_ms.unwrap().as_f64();
        assert_eq!(code2wav.fields["samples"].to_string(), (media * 16.0).to_string());
        assert!(request.e2e_table.finish_reason.is_some());
    }
    for (_, file) in requests.iter().zip(fs::read_dir(out).unwrap()) {
        let sound = hound::WavReader::open(file.unwrap().path()).unwrap();
        assert!(sound.into_samples::<i16>().any(|sample| sample.unwrap().abs() > 1_000), "it can be heard");
    }
}

#[test]
fn slow_sound_underruns_and_the_line_says_how_often_and_for_how_long() {
    // A chunk plays for 100 ms, and the next one takes 120 ms.
    let arguments = ["--log-stats", "--requests", "2", "--max-tokens", "3", "--slow-sound", "1.2"];
    let (_, stderr, _) = run("slow", &arguments);
    for line in stderr.lines().map(request) {
        let code2wav = &line.stage_table[2];
        let chunks = code2wav.outputs.unwrap();
        // The last chunk may be short, and come in time.
        let late = chunks - 2;
        assert!(chunks > 2 && code2wav.underruns >= Some(late), "{code2wav:?}");
        assert!(code2wav.underrun_total_ms.unwrap().as_f64() >= 20.0 * late as f64, "{code2wav:?}");
        assert!(code2wav.inter_output_max_ms.unwrap().as_f64() >= 120.0, "{code2wav:?}");
        assert!(code2wav.real_time_factor >= Some(1.2), "{code2wav:?}");
    }
}

#[test]
fn without_log_stats_it_prints_none() {
    let (stdout, stderr, _) = run("quiet", &["--requests", "2"]);
    assert_eq!(stderr, "");
    assert!(stdout.contains("2"), "{stdout}");
}

//! A simulated fleet: what the reader makes of its logs, against what really happened.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
    time::{Duration, UNIX_EPOCH},
};

use omni_fleet::{Findings, Settings, TRUTH, check, run};
use omni_metrics::{Keep, Line};

/// The mock clock begins at 2026-01-31T12:00:00Z; this is an hour later.
const START: Duration = Duration::from_secs(1_769_864_400);
/// Timestamps are cut to microseconds.
const MICROS: u64 = 3_000;

fn settings(max_offset: Duration) -> Settings {
    Settings {
        seed: 7,
        requests: 1_500,
        rate: 100.0,
        processes: 64,
        restarts: 24,
        max_offset,
        keep: Keep::all(),
        start: UNIX_EPOCH + START,
    }
}

/// The reader, built if need be.
fn reader() -> &'static Path {
    static READER: OnceLock<PathBuf> = OnceLock::new();
    READER.get_or_init(|| {
        // As `cargo test --workspace --all-features` builds it, so that nothing is built twice.
        let built = Command::new(env!("CARGO"))
            .args(["build", "-q", "--workspace", "--all-features", "--bin", "omni-metrics"])
            .stderr(Stdio::inherit())
            .status()
            .unwrap();
        assert!(built.success());
        Path::new(env!("CARGO_BIN_EXE_omni_fleet")).parent().unwrap().join("omni-metrics")
    })
}

fn simulated(name: &str, max_offset: Duration) -> (PathBuf, Vec<PathBuf>) {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&directory);
    let logs = run(&settings(max_offset), &directory).unwrap();
    (directory, logs)
}

fn compared(name: &str, max_offset: Duration) -> Findings {
    let (directory, logs) = simulated(name, max_offset);
    let output = Command::new(reader()).arg("join").args(logs).output().unwrap();
    assert!(output.status.success());
    let joined = directory.join("joined");
    fs::write(&joined, output.stdout).unwrap();
    let findings = check(&directory.join(TRUTH), &joined).unwrap();
    assert!(findings.violations.is_empty(), "{findings}");
    assert!(findings.requests > 1_400 && findings.left_out > 0 && findings.without_line > 0, "{findings}");
    findings
}

#[test]
fn with_clocks_that_agree_every_number_is_true() {
    let findings = compared("in-sync", Duration::ZERO);
    for deviation in &findings.deviations {
        // The timestamps of all rows move the gaps between them.
        let limit = if deviation.number == "unattributed_time_ms" { 4 * MICROS } else { MICROS };
        assert!(deviation.compared() > 50 && deviation.most() <= limit, "{findings}");
    }
}

#[test]
fn with_clocks_that_are_off_durations_are_true_and_positions_are_off_by_as_much_as_the_clocks() {
    // Two clocks differ by twice as much; up to three chunks add up on an edge, and the time that is
    // unattributed depends on all rows.
    const MOST: u64 = 400_000_000;
    let findings = compared("off", Duration::from_millis(200));
    for deviation in &findings.deviations {
        let limit = match deviation.number {
            "in_flight_time_ms" => 3 * MOST,
            "unattributed_time_ms" => u64::MAX,
            "e2e_total_ms, a worker's row last"
            | "first_output_ms of a worker's row"
            | "start_ms of a worker's row" => MOST,
            _ => 0,
        };
        assert!(deviation.most() <= limit, "{findings}");
        // The clocks are really off.
        assert!(limit == 0 || deviation.most() > 100 * MICROS, "{findings}");
    }
}

#[test]
fn clocks_that_are_off_are_aligned_to_less_than_the_time_that_messages_take() {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("aligned");
    let _ = fs::remove_dir_all(&directory);
    let off = settings(Duration::from_millis(200));
    let logs = run(&Settings { requests: 3_000, processes: 16, restarts: 3, ..off }, &directory).unwrap();
    let joined = |options: &[&str]| {
        let joined = directory.join("joined");
        let join =
            Command::new(reader()).arg("join").args(options).args(&logs).arg("-o").arg(&joined).output();
        let said = String::from_utf8(join.unwrap().stderr).unwrap();
        assert!(
            said.contains(if options.is_empty() { "--align-clocks" } else { "were moved by up to" }),
            "{said}"
        );
        let deviations = check(&directory.join(TRUTH), &joined).unwrap().deviations.into_iter();
        deviations.map(|deviation| (deviation.number, deviation)).collect::<BTreeMap<_, _>>()
    };
    let (unmoved, aligned) = (joined(&[]), joined(&["--align-clocks"]));
    for (number, at_most) in [
        ("e2e_total_ms, a worker's row last", MICROS),
        ("start_ms of a worker's row", 500_000),
        ("first_output_ms of a worker's row", 500_000),
    ] {
        let [before, after] = [&unmoved, &aligned].map(|deviations| deviations[number].quantile(500));
        assert!(after <= at_most && after * 3 < before, "{number}: {before} {after}");
    }
    let flights = [&unmoved, &aligned].map(|deviations| &deviations["in_flight_time_ms"]);
    let [before, after] = flights.map(|deviation| deviation.quantile(990));
    assert!(flights[1].quantile(500) <= 500_000 && after * 20 < before, "{before} {after}");
    // The answer, from a worker to the front, arrives before its request ends, by the worker's moved clock.
    let (mut answers, mut late) = (0, 0);
    for line in fs::read_to_string(directory.join("joined")).unwrap().lines() {
        let Ok(Line::Request(line)) = line.parse() else { panic!("{line}") };
        for row in
            line.transfer_table.iter().filter(|row| (row.from_stage, row.to_stage) == (Some(3), Some(0)))
        {
            let (Some(start), Some(flight)) = (row.start_ms, row.in_flight_time_ms) else { continue };
            answers += 1;
            let end = start.as_nanos() + flight.as_nanos();
            late += u64::from(end > line.e2e_table.e2e_total_ms.as_nanos() + 1_000_000);
        }
    }
    // A process that was started again may have fewer rows than an estimate takes.
    assert!(answers > 2_000 && late * 200 < answers, "{late} of {answers}");
    for number in ["busy_time_ms", "stage_gen_time_ms", "tx_time_ms", "queue_time_ms of a stage"] {
        assert_eq!(aligned[number].most(), 0, "{number}");
    }
}

#[test]
fn joined_logs_of_several_sampled_fronts_violate_nothing() {
    for (seed, max_offset) in [(31, 200), (3, 5_000)] {
        let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("sampled-{seed}"));
        let _ = fs::remove_dir_all(&directory);
        let keep = Keep::one_in(10).slower_than(Duration::from_secs(1)).failed();
        let max_offset = Duration::from_millis(max_offset);
        let logs =
            run(&Settings { seed, requests: 3_000, keep, ..settings(max_offset) }, &directory).unwrap();
        let joined = directory.join("joined");
        let join = Command::new(reader()).arg("join").args(&logs).arg("-o").arg(&joined).output().unwrap();
        assert!(join.status.success(), "{join:?}");
        // One after the other in one file.
        let fronts = directory.join("fronts");
        let of_fronts = logs.iter().filter(|log| log.to_string_lossy().contains("/front-"));
        let texts: Vec<_> = of_fronts.map(|log| fs::read_to_string(log).unwrap()).collect();
        fs::write(&fronts, texts.concat()).unwrap();
        for log in [&joined, &fronts] {
            let check = Command::new(reader()).arg("check").arg(log).output().unwrap();
            assert!(check.status.success(), "{seed}: {}", String::from_utf8_lossy(&check.stdout));
        }
    }
}

#[test]
fn the_same_seed_writes_the_same_logs() {
    let read = |(_, logs): (_, Vec<PathBuf>)| -> Vec<_> {
        logs.iter().map(|log| fs::read_to_string(log).unwrap()).collect()
    };
    let limit = Duration::from_millis(200);
    assert_eq!(read(simulated("once", limit)), read(simulated("twice", limit)));
}

#[test]
fn a_process_that_is_started_again_counts_its_requests_from_one() {
    let (_, logs) = simulated("runs", Duration::from_millis(200));
    let mut runs = 0;
    for log in &logs {
        let numbers = fs::read_to_string(log).unwrap().lines().map(|line| line.parse().unwrap()).fold(
            Vec::<Vec<u64>>::new(),
            |mut runs, line| {
                if let Line::Request(line) = line {
                    let number = line.overall_summary.e2e_requests;
                    if number == 1 {
                        runs.push(Vec::new());
                    }
                    runs.last_mut().unwrap().push(number);
                }
                runs
            },
        );
        for run in numbers {
            runs += 1;
            let expected: BTreeSet<u64> = (1..=run.len() as u64).collect();
            assert_eq!(run.into_iter().collect::<BTreeSet<_>>(), expected);
        }
    }
    assert!(runs > 8, "no front was started again");
    let checked = Command::new(reader()).arg("check").args(&logs).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}

//! The example `omni_distributed`: a process a stage, a log a process, and what the reader makes of them.

#[path = "support/root.rs"]
mod root;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use omni_metrics::{Line, Millis, RequestLine, StageRow};

fn directory(name: &str) -> PathBuf {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).unwrap();
    directory
}

fn distributed(logs: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_omni_distributed"));
    command.arg("--log-stats").arg("--log-dir").arg(logs).arg("--out").arg(logs);
    command
}

fn logs(directory: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "jsonl")).collect()
}

fn join(directory: &Path) -> (Vec<RequestLine>, Output) {
    let output =
        Command::new(root::built("omni-metrics")).arg("join").args(logs(directory)).output().unwrap();
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    (text.lines().map(request).collect(), output)
}

fn request(line: &str) -> RequestLine {
    match line.parse() {
        Ok(Line::Request(request)) => request,
        other => panic!("{line}: {other:?}"),
    }
}

fn lines(log: &Path) -> Vec<Line> {
    fs::read_to_string(log).unwrap().lines().map(|line| line.parse().unwrap()).collect()
}

fn nanos(time: Option<Millis>) -> u64 {
    time.unwrap().as_nanos()
}

/// What does not depend on how long things took.
fn counts(request: &RequestLine) -> String {
    let stages: Vec<_> = request
        .stage_table
        .iter()
        .map(|row| {
            let times = [
                row.stage_gen_time_ms,
                row.busy_time_ms,
                row.queue_time_ms,
                row.start_ms,
                row.first_output_ms,
            ];
            let are_there = times.map(|time| time.is_some());
            let tokens = (row.num_tokens_in, row.num_tokens_out);
            (row.stage_id, &row.stage_name, row.batch_size, tokens, &row.fields, are_there)
        })
        .collect();
    let edges: Vec<_> = request
        .transfer_table
        .iter()
        .map(|row| {
            let times = [row.tx_time_ms, row.in_flight_time_ms, row.rx_decode_time_ms, row.start_ms];
            (row.from_stage, row.to_stage, row.size_bytes, row.events, times.map(|time| time.is_some()))
        })
        .collect();
    let e2e = &request.e2e_table;
    let (tokens, bytes) = (e2e.e2e_total_tokens, e2e.transfers_total_bytes);
    format!("{tokens} {bytes} {:?} {stages:?} {edges:?}", e2e.finish_reason)
}

#[test]
fn joined_logs_have_the_tables_of_one_process() {
    let (parts, whole) = (directory("distributed"), directory("one-process"));
    // One at a time, so that batches are alike.
    let requests = ["--requests", "12", "--concurrency", "1"];
    let output = distributed(&parts).args(requests).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let pipeline = root::built("examples/omni_pipeline");
    let output =
        Command::new(pipeline).arg("--log-stats").args(requests).arg("--out").arg(&whole).output().unwrap();

    let (joined, complaints) = join(&parts);
    assert_eq!(String::from_utf8_lossy(&complaints.stderr), "", "every row finds its request");
    let whole: BTreeMap<_, _> = String::from_utf8(output.stderr)
        .unwrap()
        .lines()
        .map(request)
        .map(|request| (request.request_id.clone(), counts(&request)))
        .collect();
    let parts: BTreeMap<_, _> =
        joined.iter().map(|request| (request.request_id.clone(), counts(request))).collect();
    assert_eq!(parts, whole);
    assert_eq!(parts.len(), 12);
    let total = joined.last().unwrap();
    let tokens: u64 = joined.iter().map(|request| request.e2e_table.e2e_total_tokens).sum();
    assert_eq!(total.overall_summary.e2e_total_tokens, tokens);
}

#[test]
fn a_row_takes_the_times_of_the_process_that_measured_it() {
    let parts = directory("times");
    assert!(distributed(&parts).args(["--requests", "6", "--concurrency", "3"]).status().unwrap().success());
    let (joined, _) = join(&parts);
    for request in &joined {
        let mut gen_times = BTreeMap::<_, u64>::new();
        for line in logs(&parts).iter().flat_map(|log| lines(log)) {
            let is_its = line.request_id() == Some(&request.request_id);
            if let Line::Stage(line) = line
                && is_its
            {
                *gen_times.entry(line.row.stage_id).or_default() += nanos(line.row.stage_gen_time_ms);
            }
        }
        let joined: BTreeMap<_, _> =
            request.stage_table.iter().map(|row| (row.stage_id, nanos(row.stage_gen_time_ms))).collect();
        assert_eq!(joined, gen_times);
        let e2e = &request.e2e_table;
        let known =
            request.stage_table.iter().map(|row| row.stage_gen_time_ms.unwrap().as_f64()).sum::<f64>();
        let all = known + e2e.transfers_total_time_ms.as_f64() + e2e.unattributed_time_ms.as_f64();
        // Beginnings are known to the microsecond, and a flight is measured by two clocks.
        assert!((all - e2e.e2e_total_ms.as_f64()).abs() < 0.2, "{all} {request:?}");
        assert!(request.warnings.is_empty(), "{:?}", request.warnings);
    }
}

#[test]
fn all_lines_of_a_request_are_in_its_trace() {
    let parts = directory("traces");
    assert!(distributed(&parts).args(["--requests", "4"]).status().unwrap().success());
    let mut traces = BTreeMap::<_, BTreeSet<_>>::new();
    for line in logs(&parts).iter().flat_map(|log| lines(log)) {
        let (id, trace) = match &line {
            Line::Request(line) => (Some(line.request_id.clone()), line.trace_id.clone()),
            Line::Stage(line) => (line.request_id.clone(), line.trace_id.clone()),
            Line::Transfer(line) => (line.request_id.clone(), line.trace_id.clone()),
            other => panic!("{other:?}"),
        };
        traces.entry(id.unwrap()).or_default().insert(trace.unwrap());
    }
    assert_eq!(traces.len(), 4);
    assert!(traces.values().all(|of_request| of_request.len() == 1), "{traces:?}");
    assert_eq!(traces.values().flatten().collect::<BTreeSet<_>>().len(), 4, "and each has its own");
}

#[test]
fn a_worker_that_is_killed_loses_its_own_rows_and_the_request_says_what_is_missing() {
    let parts = directory("killed");
    let mut process = distributed(&parts)
        .args(["--requests", "150", "--concurrency", "8"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = BufReader::new(process.stdout.take().unwrap());
    let mut killed = false;
    for line in stdout.lines().map(Result::unwrap) {
        if let Some(rest) = line.strip_prefix("stage 2 (code2wav): process ").filter(|_| !killed) {
            let (id, _) = rest.split_once(',').unwrap();
            // In the middle: some requests have been served, and most are still to come.
            while fs::read_to_string(parts.join("coordinator.jsonl")).unwrap_or_default().lines().count() < 20
            {
                assert!(process.try_wait().unwrap().is_none(), "it serves requests");
                std::thread::yield_now();
            }
            assert!(Command::new("kill").args(["-9", id]).status().unwrap().success());
            killed = true;
        }
    }
    let output = process.wait_with_output().unwrap();
    assert!(killed && output.status.code() == Some(1), "{output:?}");

    let (requests, _) = join(&parts);
    assert_eq!(requests.len(), 150, "each has its line");
    let (lost, served): (Vec<_>, Vec<_>) =
        requests.iter().partition(|request| request.fields.contains_key("missing"));
    assert!((1..=8).contains(&lost.len()), "those that were with it: {}", lost.len());
    for request in &lost {
        let missing = request.fields["missing"].to_string();
        assert!(missing.starts_with("stage 2 (code2wav): its process ended with signal: 9"), "{missing}");
        assert_eq!(request.e2e_table.finish_reason.as_deref(), Some("error"));
        let stages: Vec<_> = request.stage_table.iter().map(|row| row.stage_id).collect();
        // What the others did is there. The last stage may have been done with it, but had not said so yet.
        assert!(stages.starts_with(&[Some(0), Some(1)]), "{stages:?}");
    }
    for request in served {
        assert_eq!(request.stage_table.len(), 3, "{request:?}");
        assert_ne!(request.e2e_table.finish_reason.as_deref(), Some("error"));
    }
    assert!(parts.join("code2wav.2.jsonl").exists(), "another one took over");
}

/// What a process serves as `/metrics`: the samples, by name and labels.
fn scrape(url: &str) -> Vec<(String, f64)> {
    let address = url.strip_prefix("http://").and_then(|rest| rest.strip_suffix("/metrics")).unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("GET /metrics HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let samples = body.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    samples
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        })
        .collect()
}

/// A value that a family has once for each row that has one.
#[derive(Debug, Default)]
struct Values {
    count: u64,
    /// Seconds, or bytes.
    sum: f64,
}

impl Values {
    fn add(&mut self, value: Option<f64>) {
        self.count += u64::from(value.is_some());
        self.sum += value.unwrap_or(0.0);
    }
}

/// What the families of the rows have to be by the joined lines.
fn families(requests: &[RequestLine]) -> BTreeMap<String, Values> {
    let mut families = BTreeMap::<String, Values>::new();
    let seconds = |time: Option<Millis>| time.map(|time| time.as_nanos() as f64 / 1e9);
    let mut add = |family: String, value| families.entry(family).or_default().add(value);
    for request in requests {
        add("omni_e2e_seconds".to_owned(), seconds(Some(request.e2e_table.e2e_total_ms)));
        for row in &request.stage_table {
            assert_eq!(row.events, 1, "a stage has one span in a request: {row:?}");
            let stage = row.stage_id.unwrap();
            let mut add = |name: &str, time| {
                add(format!("omni_stage_{name}_seconds{{stage=\"{stage}\"}}"), seconds(time));
            };
            add("gen", row.stage_gen_time_ms);
            add("queue", row.queue_time_ms);
            add("preprocess", row.preprocess_time_ms);
            add("time_per_output_token", row.time_per_output_token_ms);
            add("share", row.share_time_ms);
            add("media", row.media_ms);
            add("underrun", row.underrun_total_ms);
        }
        for row in &request.transfer_table {
            assert_eq!(row.events, 2, "it is sent once, and received once: {row:?}");
            let ends = format!(
                "{{from_stage=\"{}\",to_stage=\"{}\"}}",
                row.from_stage.unwrap(),
                row.to_stage.unwrap()
            );
            add(format!("omni_transfer_tx_seconds{ends}"), seconds(row.tx_time_ms));
            add(format!("omni_transfer_rx_decode_seconds{ends}"), seconds(row.rx_decode_time_ms));
            add(format!("omni_transfer_in_flight_seconds{ends}"), seconds(row.in_flight_time_ms));
            add(format!("omni_transfer_size_bytes{ends}"), row.size_bytes.map(|bytes| bytes as f64));
        }
    }
    families.retain(|_, values| values.count > 0);
    families
}

#[test]
fn the_metrics_of_all_processes_add_up_to_the_joined_lines() {
    let parts = directory("metrics");
    let mut process = distributed(&parts)
        .args(["--keep", "--requests", "30", "--concurrency", "6"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // Kept to the end: the coordinator writes to it again.
    let mut stdout = BufReader::new(process.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut urls = Vec::new();
    for line in stdout.by_ref() {
        if let Some((_, url)) = line.split_once(", http://") {
            urls.push(format!("http://{url}"));
        }
        if line.starts_with("All requests are served") {
            break;
        }
    }
    assert_eq!(urls.len(), 4, "the coordinator and three workers: {urls:?}");
    let mut served = BTreeMap::<_, f64>::new();
    for (name, value) in urls.iter().flat_map(|url| scrape(url)) {
        *served.entry(name).or_default() += value;
    }
    drop(process.stdin.take());
    stdout.for_each(drop);
    assert!(process.wait().unwrap().success());

    let (requests, complaints) = join(&parts);
    assert_eq!((requests.len(), complaints.stderr.as_slice()), (30, &b""[..]));
    // A row has no gap but the longest one.
    let gaps = requests.iter().flat_map(|request| &request.stage_table).filter_map(|row| row.outputs);
    let gaps: u64 = gaps.map(|outputs| outputs.saturating_sub(1)).sum();
    let has_gaps = |name: &str| name.starts_with("omni_stage_inter_output_seconds");
    let counted = served.iter().filter(|(name, _)| has_gaps(name) && name.contains("_count"));
    assert_eq!(counted.map(|(_, count)| count).sum::<f64>(), gaps as f64);
    // Of a row whose request is elsewhere, nobody knows when that began, nor what it waited for. A factor is
    // rounded twice.
    let others = ["omni_unattributed", "first_output", "waiting", "real_time_factor"];
    served.retain(|name, _| !has_gaps(name) && !others.iter().any(|other| name.contains(other)));
    let sample = |family: &str, suffix: &str| {
        let (name, labels) = family.split_at(family.find('{').unwrap_or(family.len()));
        served.get(&format!("{name}_{suffix}{labels}")).copied()
    };
    let families = families(&requests);
    for (family, Values { count, sum }) in &families {
        assert_eq!(sample(family, "count"), Some(*count as f64), "{family}");
        let difference = sample(family, "sum").unwrap() - sum;
        assert!(difference.abs() <= 1e-6, "{family} differs by {difference}");
    }
    let counted = served.iter().filter(|(name, count)| name.contains("_count") && **count > 0.0);
    let counted: Vec<_> = counted.map(|(name, _)| name.replace("_count", "")).collect();
    assert_eq!(counted, families.keys().cloned().collect::<Vec<_>>(), "there are no others");

    let counter =
        |name: &str| served.iter().filter(|(key, _)| key.starts_with(name)).map(|(_, n)| n).sum::<f64>();
    assert_eq!(counter("omni_requests_total"), 30.0);
    let tokens = |of: fn(&StageRow) -> Option<u64>| {
        requests.iter().flat_map(|request| &request.stage_table).filter_map(of).sum::<u64>() as f64
    };
    assert_eq!(counter("omni_generation_tokens_total"), tokens(|row| row.num_tokens_out));
    let prompts = tokens(|row| row.num_tokens_in.filter(|_| row.stage_id == Some(0)));
    assert_eq!(counter("omni_prompt_tokens_total"), prompts);
    assert_eq!((counter("omni_lines_lost_total"), counter("omni_warnings_total")), (0.0, 0.0));
}

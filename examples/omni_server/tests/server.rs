//! The example `omni_server`, over HTTP.

#[path = "../../../tests/heavy/support/collector.rs"]
mod collector;
#[allow(dead_code, reason = "the test has its own handler")]
#[path = "../request.rs"]
mod request;
mod service;
#[path = "../../../tests/support/mod.rs"]
mod support;

use std::{
    convert::Infallible,
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    process::Command,
    thread,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::Request,
    middleware::from_fn,
    routing::get,
};
use omni_metrics::{E2eTable, Line, Millis, StageRow, TransferRow};
use reqwest::blocking::Client;
use serde_json::{Value, json};
use service::{SERVER, Server};
use support::Rig;
use tower::ServiceExt;

/// The events of a stream, by name.
fn events(body: &str) -> Vec<(String, Value)> {
    let event = |text: &str| {
        let (name, data) = text.split_once('\n').unwrap();
        let data = data.strip_prefix("data: ").unwrap();
        (name.strip_prefix("event: ").unwrap().to_owned(), serde_json::from_str(data).unwrap())
    };
    body.split("\n\n").filter(|text| !text.is_empty()).map(event).collect()
}

#[test]
fn text_and_sound_are_streamed_and_the_line_says_what_was() {
    let server = Server::start("stream", &["--log-stats"]);
    let response =
        server.post(Some("r1"), &json!({ "prompt": "The layer writes", "max_tokens": 12, "seed": 3 }));
    assert_eq!(response.headers()["x-request-id"], "r1");
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let events = events(&response.text().unwrap());
    let kinds: Vec<_> = events.iter().map(|(name, _)| name.as_str()).collect();
    let first_sound = kinds.iter().position(|kind| *kind == "sound").unwrap();
    assert!(kinds[..first_sound].iter().all(|kind| *kind == "text") && first_sound > 0, "{kinds:?}");
    let [.., (kind, done), (last, _)] = &events[..] else { panic!("{kinds:?}") };
    assert_eq!((kind.as_str(), last.as_str()), ("done", "metrics"));
    let [line] = &server.lines(1)[..] else { panic!() };
    assert_eq!(line.request_id, "r1");
    assert_eq!(line.e2e_table.finish_reason.as_deref(), done["finish_reason"].as_str());
    assert_eq!(line.stage_table[0].num_tokens_in, done["prompt_tokens"].as_u64());
    assert_eq!(line.stage_table[0].num_tokens_out, done["generated_tokens"].as_u64());
    let stages: Vec<_> = line.stage_table.iter().map(|row| row.stage_id).collect();
    assert_eq!((stages, line.transfer_table.len()), (vec![Some(0), Some(1), Some(2)], 2));
    assert!(line.warnings.is_empty() && line.trace_id.is_some(), "{line:?}");
    let outputs: Vec<_> = line.stage_table.iter().map(|row| row.outputs).collect();
    let of = |kind| Some(kinds.iter().filter(|other| **other == kind).count() as u64);
    assert_eq!(outputs, [of("text"), None, of("sound")]);
    assert_eq!(line.stage_table[2].media_ms.map(Millis::as_f64), done["sound_ms"].as_f64());
}

#[test]
fn the_last_event_of_a_stream_has_the_tables_of_its_line() {
    let server = Server::start("metrics-event", &["--log-stats"]);
    let events =
        events(&server.post(Some("r1"), &json!({ "prompt": "p", "max_tokens": 12 })).text().unwrap());
    let (last, tables) = events.last().unwrap();
    assert_eq!(last, "metrics");
    let [line] = &server.lines(1)[..] else { panic!() };
    let told = |key: &str| serde_json::from_value::<Vec<StageRow>>(tables[key].clone());
    assert_eq!(told("stage_table").unwrap(), line.stage_table);
    let transfers: Vec<TransferRow> = serde_json::from_value(tables["transfer_table"].clone()).unwrap();
    assert_eq!(transfers, line.transfer_table);
    let e2e: E2eTable = serde_json::from_value(tables["e2e_table"].clone()).unwrap();
    assert!(e2e.e2e_total_ms <= line.e2e_table.e2e_total_ms, "the request had not ended");
    assert_eq!(e2e.finish_reason, line.e2e_table.finish_reason);
    assert_eq!(tables["request_id"], "r1");
}

#[test]
fn an_answer_in_one_piece_has_the_times_of_its_line_as_a_header() {
    let server = Server::start("server-timing", &["--log-stats"]);
    let ask = |stream| json!({ "prompt": "The layer writes", "max_tokens": 12, "seed": 3, "stream": stream });
    let streamed = events(&server.post(None, &ask(true)).text().unwrap());
    let whole = server.post(None, &ask(false));
    let header = whole.headers()["server-timing"].to_str().unwrap().to_owned();
    let whole: Value = whole.json().unwrap();
    let texts: String = streamed.iter().filter_map(|(_, data)| data["text"].as_str()).collect();
    assert_eq!(whole["text"], texts);
    let [.., (_, done), _] = &streamed[..] else { panic!("{streamed:?}") };
    for key in ["finish_reason", "prompt_tokens", "generated_tokens", "sound_ms"] {
        assert_eq!(whole[key], done[key], "{key}");
    }
    let lines = server.lines(2);
    let e2e = &lines[1].e2e_table;
    assert_eq!(e2e.finish_reason.as_deref(), whole["finish_reason"].as_str());
    let mut metrics: Vec<_> = header.split(", ").collect();
    let total = metrics.pop().unwrap().strip_prefix("total;dur=").unwrap();
    assert!(total.parse::<f64>().unwrap() <= e2e.e2e_total_ms.as_f64(), "the request had not ended");
    let dur = |name: &str, time: Option<Millis>| format!("{name};dur={:.3}", time.unwrap().as_f64());
    let stages = lines[1].stage_table.iter().map(|row| {
        let name = format!("stage{}", row.stage_id.unwrap());
        let desc = row.stage_name.as_deref().unwrap();
        format!("{};desc=\"{desc}\"", dur(&name, row.stage_gen_time_ms))
    });
    let mut expected = vec![dur("queue", e2e.queue_time_ms), dur("waiting", e2e.waiting_time_ms)];
    expected.extend(stages);
    expected.push(dur("transfers", Some(e2e.transfers_total_time_ms)));
    assert_eq!(metrics, expected);
}

#[test]
fn without_log_stats_no_times_are_sent() {
    let server = Server::start("no-times", &[]);
    let whole = server.post(None, &json!({ "prompt": "p", "max_tokens": 4, "stream": false }));
    assert!(whole.headers().get("server-timing").is_none());
    let streamed = events(&server.post(None, &json!({ "prompt": "p", "max_tokens": 4 })).text().unwrap());
    assert_eq!(streamed.last().unwrap().0, "done");
}

#[test]
fn a_request_lasts_until_its_last_byte_has_gone() {
    let server = Server::start("slow", &["--log-stats"]);
    let prompt = json!({ "prompt": "The layer writes", "min_tokens": 400, "max_tokens": 400 });
    let mut slow = server.connect("slow", &prompt);
    // More than the buffers of both sides hold, so the server has to wait for whoever reads slowly.
    let mut byte = [0; 1];
    slow.read_exact(&mut byte).unwrap();
    assert_eq!(server.post(Some("quick"), &prompt).status(), 200);
    assert_eq!(server.lines(1)[0].request_id, "quick", "the slow one has not ended");
    let mut rest = Vec::new();
    slow.shutdown(Shutdown::Write).unwrap();
    let _ = slow.read_to_end(&mut rest);
    let lines = server.lines(2);
    assert_eq!(lines[1].request_id, "slow");
    // The other one has come, been served and ended meanwhile.
    let times = lines.iter().map(|line| line.e2e_table.e2e_total_ms).collect::<Vec<_>>();
    assert!(
        lines[1].timestamp.to_string() > lines[0].timestamp.to_string() && times[1] > times[0],
        "{times:?}"
    );
}

#[test]
fn the_span_of_a_request_goes_with_its_body() {
    let rig = Rig::new();
    let _default = rig.install();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let body = || Body::from_stream(tokio_stream::iter(["first", "last"].map(Ok::<_, Infallible>)));
        let app = Router::new().route("/", get(async move || body())).layer(from_fn(request::in_span));
        let response = app.oneshot(Request::new(Body::empty())).await.unwrap();
        rig.wait_ms(20);
        assert_eq!(rig.log.text(), "", "the handler has returned, but nothing has been sent");
        assert_eq!(to_bytes(response.into_body(), 100).await.unwrap(), "firstlast");
    });
    let lines = rig.log.lines();
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["e2e_table"]["e2e_total_ms"], 20.0, "it ends when the last byte has been taken");
}

#[test]
fn the_span_of_the_trace_layer_is_there_and_counts_for_nothing() {
    let server = Server::start_with("trace-layer", &["--log-stats"], |command| {
        command.env("RUST_LOG", "tower_http=debug");
    });
    server.post(Some("r1"), &json!({ "prompt": "p", "max_tokens": 4 })).text().unwrap();
    let log = server.log.clone();
    server.stop_only();
    let text = fs::read_to_string(log).unwrap();
    assert!(text.contains("finished processing request"), "{text}");
    assert_eq!(text.lines().filter(|line| line.starts_with(r#"{"type":"request""#)).count(), 1, "{text}");
}

#[test]
fn what_is_refused_is_one_line_that_says_why() {
    let server = Server::start("refused", &["--log-stats"]);
    let long = "x".repeat(257);
    for (id, body, status) in [
        ("empty", json!({ "prompt": " " }), 400),
        ("many", json!({ "prompt": "p", "max_tokens": 0 }), 400),
        ("typo", json!({ "prompt": "p", "max_token": 1 }), 422),
        (long.as_str(), json!({ "prompt": "p" }), 400),
    ] {
        assert_eq!(server.post(Some(id), &body).status(), status, "{body}");
    }
    let lines = server.lines(4);
    for (line, why) in lines.iter().zip([
        "400 Bad Request: prompt is empty",
        "400 Bad Request: max_tokens is 0, and 1 to 4096 are possible",
        "422 Unprocessable Entity: Failed to deserialize the JSON body",
        "400 Bad Request: x-request-id has 257 bytes",
    ]) {
        assert_eq!(line.e2e_table.finish_reason.as_deref(), Some("error"));
        assert!(line.fields["error"].to_string().starts_with(why), "{:?}", line.fields);
    }
    assert_eq!(lines[0].fields["x_request_id"].to_string(), "empty");
    let other = Client::new();
    assert_eq!(other.get(server.url("/healthz")).send().unwrap().text().unwrap(), "ok\n");
    assert_eq!(other.get(server.url("/nowhere")).send().unwrap().status(), 404);
    assert_eq!(other.get(server.url("/v1/generate")).send().unwrap().status(), 405);
    assert!(
        other.get(server.url("/metrics")).send().unwrap().text().unwrap().contains("omni_requests_total")
    );
    let (requests, last) = server.stop();
    assert_eq!(requests.len(), 4, "what is no request has no line");
    assert!(last.starts_with(r#"{"type":"summary""#), "{last}");
}

#[test]
fn an_id_is_made_where_there_is_none_and_used_once_at_a_time() {
    let server = Server::start("ids", &["--log-stats"]);
    let prompt = json!({ "prompt": "The layer writes", "max_tokens": 4 });
    let response = server.post(None, &prompt);
    let made = response.headers()["x-request-id"].to_str().unwrap().to_owned();
    response.text().unwrap();
    assert_eq!(server.lines(1)[0].request_id, made);

    let long = json!({ "prompt": "The layer writes", "min_tokens": 400, "max_tokens": 400 });
    let mut held = server.connect("twice", &long);
    held.read_exact(&mut [0; 64]).unwrap();
    let refused = loop {
        let response = server.post(Some("twice"), &prompt);
        if response.status() == 409 {
            break response;
        }
    };
    assert!(refused.text().unwrap().contains("twice"));
    // For whatever reason it is refused, it must not be found by the stages of the other one.
    assert_eq!(server.post(Some("twice"), &json!({ "prompt": "" })).status(), 400);
    for line in &server.lines(3)[1..] {
        assert!(line.request_id != "twice" && line.stage_table.is_empty(), "{line:?}");
        assert_eq!(line.fields["x_request_id"].to_string(), "twice");
    }
    // By the end of one that came later and is as long, the stages are done with it as well. Its client has not
    // read the answer.
    server.post(Some("after"), &long).text().unwrap();
    assert_eq!(server.post(Some("twice"), &prompt).status(), 409);
    drop(held);
    let again = loop {
        let response = server.post(Some("twice"), &prompt);
        if response.status() != 409 {
            break response;
        }
    };
    assert_eq!(again.status(), 200);
}

#[test]
fn a_body_that_does_not_come_is_not_waited_for() {
    let server = Server::start("body", &["--log-stats", "--timeout", "200ms"]);
    let mut stream = TcpStream::connect(&server.address).unwrap();
    let head = "POST /v1/generate HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{";
    stream.write_all(head.as_bytes()).unwrap();
    let lines = server.lines(1);
    assert!(lines[0].fields["error"].to_string().starts_with("408 Request Timeout"), "{:?}", lines[0].fields);
}

#[test]
fn a_client_that_leaves_is_one_line() {
    let server = Server::start("abort", &["--log-stats"]);
    let mut stream = server
        .connect("gone", &json!({ "prompt": "The layer writes", "min_tokens": 400, "max_tokens": 400 }));
    stream.read_exact(&mut [0; 64]).unwrap();
    drop(stream);
    let lines = server.lines(1);
    let e2e = &lines[0].e2e_table;
    assert_eq!((e2e.finish_reason.as_deref(), e2e.errors), (Some("abort"), None));
    let (requests, _) = server.stop();
    assert_eq!(requests.len(), 1, "and no row is left over");
    assert!(requests[0].warnings.is_empty());
}

#[test]
fn a_request_that_takes_too_long_is_one_line_and_tells_its_client() {
    let server = Server::start("timeout", &["--log-stats", "--timeout", "1ms"]);
    // Head and body in one piece, so that the body is there when the server looks for it.
    let stream = server
        .connect("late", &json!({ "prompt": "The layer writes", "min_tokens": 400, "max_tokens": 400 }));
    let mut answer = BufReader::new(stream).lines().map(Result::unwrap);
    assert!(answer.any(|line| line == "event: error"));
    assert_eq!(answer.next().unwrap(), r#"data: {"error":"timed out after 1ms"}"#);
    let (requests, _) = server.stop();
    let [request] = &requests[..] else { panic!("{requests:?}") };
    let e2e = &request.e2e_table;
    assert_eq!(e2e.finish_reason.as_deref(), Some("error"));
    assert_eq!((e2e.errors, e2e.error.as_deref()), (Some(1), Some("timed out after 1ms")));
}

#[test]
fn an_answer_in_one_piece_that_takes_too_long_is_one_line_and_tells_its_client() {
    let server = Server::start("timeout-whole", &["--log-stats", "--timeout", "1ms"]);
    let body = json!({ "prompt": "p", "min_tokens": 400, "max_tokens": 400, "stream": false });
    // Head and body in one piece, so that the body is there when the server looks for it.
    let mut stream = server.connect("late", &body);
    let mut answer = Vec::new();
    // The connection stays open.
    while !answer.ends_with(b"\r\n\r\ntimed out after 1ms") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        answer.extend(byte);
    }
    assert!(answer.starts_with(b"HTTP/1.1 503 "), "{answer:?}");
    drop(stream);
    let (requests, _) = server.stop();
    // The failure that `TraceLayer` logs is inside of its own span.
    let [line] = &requests[..] else { panic!("{requests:?}") };
    let e2e = &line.e2e_table;
    assert_eq!(e2e.finish_reason.as_deref(), Some("error"));
    assert_eq!((e2e.errors, e2e.error.as_deref()), (Some(1), Some("timed out after 1ms")));
}

#[test]
fn requests_under_way_are_served_before_the_server_stops() {
    let server = Server::start("stop", &["--log-stats"]);
    let mut stream =
        server.connect("last", &json!({ "prompt": "The layer writes", "min_tokens": 40, "max_tokens": 40 }));
    stream.read_exact(&mut [0; 64]).unwrap();
    let reader = thread::spawn(move || {
        let mut rest = String::new();
        stream.read_to_string(&mut rest).unwrap();
        rest
    });
    let (requests, last) = server.stop();
    assert!(reader.join().unwrap().contains("event: done"));
    assert_eq!(requests[0].request_id, "last");
    let Ok(Line::Summary(summary)) = last.parse() else { panic!("{last}") };
    assert_eq!(summary.overall_summary.e2e_requests, 1);
}

#[cfg(unix)]
#[test]
fn a_stderr_that_nobody_reads_stops_neither_requests_nor_the_server() {
    let (_unread, stderr) = io::pipe().unwrap();
    let server = Server::start_with("unread", &["--log-stats"], |command| {
        // Of its own lines about every request, the server must not wait for one either.
        command.env("RUST_LOG", "info,tower_http=debug").stderr(stderr);
    });
    let client = Client::new();
    let answer = |body: &Value| {
        let response = client.post(server.url("/v1/generate")).json(body).send().unwrap();
        let status = response.status();
        response.text().unwrap();
        status
    };
    for _ in 0..200 {
        assert_eq!(answer(&json!({ "prompt": "The layer writes", "max_tokens": 4 })), 200);
    }
    // Past what may wait, lines are lost, and Prometheus sees it. What is refused has a line as well.
    loop {
        for _ in 0..100 {
            assert_eq!(answer(&json!({ "prompt": "" })), 400);
        }
        let metrics = client.get(server.url("/metrics")).send().unwrap().text().unwrap();
        let lost = metrics.lines().find_map(|line| line.strip_prefix("omni_lines_lost_total "));
        let lost: u64 = lost.map_or(0, |lost| lost.parse().unwrap());
        if lost > 0 {
            break;
        }
    }
    server.stop_only();
}

#[test]
fn a_trace_goes_on_through_the_stages_and_reaches_the_collector() {
    let (endpoint, spans) = collector::start();
    let server = Server::start("trace", &["--log-stats", "--otlp", &endpoint]);
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let response = Client::new()
        .post(server.url("/v1/generate"))
        .header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"))
        .json(&json!({ "prompt": "The layer writes", "max_tokens": 4 }))
        .send()
        .unwrap();
    response.text().unwrap();
    let (requests, _) = server.stop();
    assert_eq!(requests[0].trace_id.as_deref(), Some(trace));

    let spans: Vec<_> = spans.try_iter().collect();
    let request = spans.iter().find(|span| span.name == "request").unwrap();
    assert_eq!(collector::hex(&request.parent_span_id), "00f067aa0ba902b7");
    assert_eq!(requests[0].span_id, Some(collector::hex(&request.span_id)));
    let e2e = requests[0].e2e_table.e2e_total_ms.as_f64();
    assert_eq!(
        collector::attributes(request)["omni.e2e_total_ms"],
        collector::Attribute::DoubleValue(e2e),
        "of the whole body"
    );
    let children = spans.iter().filter(|span| span.parent_span_id == request.span_id);
    let mut names: Vec<_> = children.map(|span| span.name.as_str()).collect();
    names.sort_unstable();
    // What has its errors logged; a part of the thinker's batch, the talker, code2wav; both halves of two
    // transfers.
    assert_eq!(names, [&["generate"][..], &["stage"; 3], &["transfer"; 4]].concat());
}

#[test]
fn without_log_stats_nothing_is_written() {
    let server = Server::start("quiet", &[]);
    assert_eq!(server.post(None, &json!({ "prompt": "p", "max_tokens": 4 })).status(), 200);
    let log = server.log.clone();
    server.stop_only();
    assert_eq!(fs::read_to_string(log).unwrap(), "");
}

#[test]
fn a_taken_port_is_said_to_be_so() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let output = Command::new(SERVER).args(["--listen", &address]).output().unwrap();
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(complaint.starts_with(&format!("error: cannot listen on {address}: ")), "{complaint}");
    assert_eq!(output.status.code(), Some(1));
}

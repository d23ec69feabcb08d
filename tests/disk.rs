//! A disk that is full, and has room again later.
#![cfg(unix)]

#[path = "support/service.rs"]
mod service;

use std::{
    env,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    process::Command,
};

use service::{Counts, Parts, Service, Sink, is_service, path};

const BYTES: usize = 1_000;

/// The three ways to a file.
fn sinks(log: &Path) -> [Sink<'_>; 3] {
    [Sink::File(log), Sink::Queued(log), Sink::Stderr]
}

/// Opens the log for appending, as `2>>log` does.
fn append(log: &Path) -> File {
    File::options().create(true).append(true).open(log).unwrap()
}

/// Makes requests until the disk takes no more of them.
fn fill(service: &mut Service) -> Counts {
    loop {
        service.requests(50, BYTES);
        let counts = service.settle();
        if counts.lost > 0 {
            // From now on all lines are lost.
            service.requests(10, BYTES);
            let full = service.settle();
            assert_eq!((full.written, full.lost), (counts.written, counts.lost + 10));
            return full;
        }
    }
}

/// Makes requests after there is room, and lets the service end.
fn go_on(mut service: Service, full: Counts) -> Counts {
    service.requests_on(4, 25, BYTES);
    let ended = service.end();
    assert_eq!((ended.written, ended.lost), (full.written + 100, full.lost));
    ended
}

const LIMITED: &str = "lines_past_the_largest_size_of_a_file_are_lost_until_the_file_is_truncated";

#[test]
fn lines_past_the_largest_size_of_a_file_are_lost_until_the_file_is_truncated() {
    if is_service(LIMITED) {
        return;
    }
    let log = path("limited");
    for sink in sinks(&log) {
        // A process that does not ignore the signal is killed by it, whatever it writes.
        let mut limited = Command::new("sh");
        limited.args(["-c", r#"trap '' XFSZ; ulimit -f 1000; exec "$0" "$@""#]);
        limited.arg(env::current_exe().unwrap());
        let mut service = Service::start_by(limited, LIMITED, sink, |command| {
            command.stderr(append(&log));
        });
        let full = fill(&mut service);
        let before = Parts::of(&fs::read(&log).unwrap());
        assert_eq!(before.whole(), full.written, "{sink:?}");
        assert!(before.broken.len() <= 1, "{sink:?}: {:?}", before.broken);
        append(&log).set_len(0).unwrap();
        let ended = go_on(service, full);
        let after = Parts::of(&fs::read(&log).unwrap());
        assert_eq!((after.whole(), after.broken.len()), (ended.written - full.written, 0), "{sink:?}");
        fs::remove_file(&log).unwrap();
    }
}

const FULL: &str = "lines_that_a_full_disk_does_not_take_are_lost_until_it_has_room";
/// Names the directory in which a small file system is mounted.
const MOUNTED: &str = "OMNI_METRICS_MOUNTED";

#[test]
fn lines_that_a_full_disk_does_not_take_are_lost_until_it_has_room() {
    if is_service(FULL) {
        return;
    }
    if let Some(disk) = env::var_os(MOUNTED) {
        return fill_and_empty(&PathBuf::from(disk));
    }
    // In a namespace of its own, a process may mount a file system without being root.
    const MOUNT: &str =
        r#"mount -t tmpfs -o size=512k tmpfs "$OMNI_METRICS_MOUNTED" || exit 77; exec "$0" "$@""#;
    let disk = path("disk");
    fs::create_dir(&disk).unwrap();
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", MOUNT])
        .arg(env::current_exe().unwrap())
        .args([FULL, "--exact", "--nocapture", "--test-threads=1"])
        .env(MOUNTED, &disk)
        .output();
    fs::remove_dir(&disk).unwrap();
    match output {
        Ok(output) if output.status.success() => {}
        Ok(output) if has_no_mount(&output) => skip(&String::from_utf8_lossy(&output.stderr)),
        Ok(output) => panic!("{output:?}"),
        Err(error) => skip(&format!("unshare: {error}")),
    }
}

/// Whether `unshare` or `mount` was refused.
fn has_no_mount(output: &std::process::Output) -> bool {
    output.status.code() == Some(77) || output.stderr.starts_with(b"unshare:")
}

#[allow(clippy::explicit_write, reason = "libtest hides what `eprintln!` writes in a test that passes")]
fn skip(why: &str) {
    writeln!(io::stderr(), "SKIPPED {FULL}: {}", why.trim()).unwrap();
}

fn fill_and_empty(disk: &Path) {
    let (log, ballast) = (disk.join("log"), disk.join("ballast"));
    for sink in sinks(&log) {
        fs::write(&ballast, vec![0; 256 * 1024]).unwrap();
        let mut service = Service::start(FULL, sink, |command| {
            command.stderr(append(&log));
        });
        let full = fill(&mut service);
        fs::remove_file(&ballast).unwrap();
        let ended = go_on(service, full);
        let parts = Parts::of(&fs::read(&log).unwrap());
        assert_eq!(parts.whole(), ended.written, "{sink:?}");
        assert!(parts.broken.len() <= 1, "the line that was cut: {sink:?}: {:?}", parts.broken);
        fs::remove_file(&log).unwrap();

        // The same while four threads write, until the disk is full again.
        fs::write(&ballast, vec![0; 256 * 1024]).unwrap();
        let mut service = Service::start(FULL, sink, |command| {
            command.stderr(append(&log));
        });
        fill(&mut service);
        service.tell(&format!("4 200 {BYTES}"));
        fs::remove_file(&ballast).unwrap();
        service.answer();
        let ended = service.end();
        let parts = Parts::of(&fs::read(&log).unwrap());
        assert_eq!((ended.written + ended.lost, parts.whole()), (ended.made, ended.written), "{sink:?}");
        // A line may be cut after its first byte.
        let is_cut = |part: &String| part.starts_with('{') && part.matches(r#"{"type""#).count() <= 1;
        assert!(parts.broken.iter().all(is_cut) && parts.broken.len() <= 2, "{sink:?}: {:?}", parts.broken);
        fs::remove_file(&log).unwrap();
    }
}

const DEV_FULL: &str = "all_lines_to_a_device_that_is_always_full_are_lost";

#[cfg(target_os = "linux")]
#[test]
fn all_lines_to_a_device_that_is_always_full_are_lost() {
    if is_service(DEV_FULL) {
        return;
    }
    for sink in sinks(Path::new("/dev/full")) {
        let mut service = Service::start(DEV_FULL, sink, |command| {
            command.stderr(append(Path::new("/dev/full")));
        });
        service.requests(100, BYTES);
        assert_eq!(service.end(), Counts { made: 100, written: 0, lost: 100 }, "{sink:?}");
    }
}

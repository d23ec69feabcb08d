//! The names of logs among those that are read.

use std::{
    borrow::Cow,
    collections::HashSet,
    path::{Component, Path, PathBuf, absolute},
    sync::Arc,
};

use super::files::{called, shown};
use crate::write::columns::printable;

/// The names of the logs with these paths: the names of the files, if these differ and none is a number.
/// Otherwise, the paths without the directories that all of them are in, and without what follows when the
/// names differ; a pod's directory is called without its UID. Different logs have different names.
pub(super) fn log_names(logs: &[&Path]) -> Vec<Arc<str>> {
    let is_input = |path: &Path| path == Path::new("-");
    let files = || logs.iter().copied().filter(|path| !is_input(path));
    let are_mixed =
        files().any(has_dots) || files().any(Path::is_absolute) && !files().all(Path::is_absolute);
    let resolved = |path| if are_mixed { resolve(path) } else { Cow::Borrowed(path) };
    let paths: Vec<_> = files().map(resolved).collect();
    let mut names = names_of(&paths, are_mixed).into_iter();
    let mut name = |path: &&Path| if is_input(path) { Some(called("-").to_owned()) } else { names.next() };
    logs.iter().map(|path| name(path).unwrap_or_default().into()).collect()
}

fn has_dots(path: &Path) -> bool {
    path.components().any(|part| matches!(part, Component::CurDir | Component::ParentDir))
}

/// The absolute path, with links to directories followed: `..` is not the directory before it in the path if
/// that is a link. The file may be a link to one with a name that says less.
fn resolve(path: &Path) -> Cow<'_, Path> {
    let absolute = absolute(path).unwrap_or_else(|_| path.to_owned());
    let directory = absolute.parent().and_then(|directory| directory.canonicalize().ok());
    let file = directory.zip(absolute.file_name()).map(|(directory, file)| directory.join(file));
    Cow::Owned(file.unwrap_or(absolute))
}

/// The shortest names that differ as they are shown, or else whole paths, whose escapes tell them apart.
fn names_of(paths: &[Cow<'_, Path>], are_mixed: bool) -> Vec<String> {
    let count = paths.iter().collect::<HashSet<_>>().len();
    let is_unique = |names: &Vec<String>| names.iter().collect::<HashSet<_>>().len() == count;
    let file = |path: &Cow<'_, Path>| path.file_name().map(PathBuf::from).unwrap_or_default();
    let files = Some(paths.iter().map(file).collect::<Vec<_>>())
        .filter(|files| are_mixed || !files.iter().any(|file| is_number(file)));
    let length = |path: &Cow<'_, Path>| path.components().count();
    let least = paths.iter().map(length).min().unwrap_or(0);
    let shared = (0..least.saturating_sub(1)).take_while(|at| {
        let mut parts = paths.iter().map(|path| path.components().nth(*at));
        let first = parts.next();
        parts.all(|part| Some(part) == first)
    });
    let shared = shared.count();
    let most = paths.iter().map(length).max().unwrap_or(0);
    let cut = |parts| -> Vec<PathBuf> {
        paths.iter().map(|path| path.components().skip(shared).take(parts).collect()).collect()
    };
    let candidates = files.into_iter().chain((1..most.max(2)).map(cut));
    let mut names = candidates.map(|paths| paths.iter().map(|path| shown(path)).collect());
    let names = names.find(is_unique);
    let names = names.unwrap_or_else(|| paths.iter().map(|path| escaped(path)).collect());
    let without_uids: Vec<_> = names.iter().map(|name| without_uid(name).to_owned()).collect();
    if is_unique(&without_uids) { without_uids } else { names }
}

/// Whether the name of a file is a number up to its ending, as those of a pod's logs are: `0.log`.
fn is_number(file: &Path) -> bool {
    let name = file.to_string_lossy();
    let start = name.split('.').next().unwrap_or_default();
    !start.is_empty() && start.bytes().all(|byte| byte.is_ascii_digit())
}

/// The path with each backslash doubled, and each byte that is no text as `\xff`: no two paths have the same
/// text.
fn escaped(path: &Path) -> String {
    let chunks = path.as_os_str().as_encoded_bytes().utf8_chunks();
    let chunk = |chunk: std::str::Utf8Chunk<'_>| {
        let text = chunk.valid().replace('\\', "\\\\");
        let bytes: String = chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")).collect();
        printable(&text).into_owned() + &bytes
    };
    chunks.map(chunk).collect()
}

/// The name of a pod's directory without the UID at its end: `prod_front-0_8d3f…` is `prod_front-0`.
fn without_uid(name: &str) -> &str {
    match name.rsplit_once('_') {
        Some((pod, uid)) if uid.len() == 36 && uid.split('-').map(str::len).eq([8, 4, 4, 4, 12]) => pod,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(paths: &[&str]) -> Vec<String> {
        let paths: Vec<_> = paths.iter().map(Path::new).collect();
        log_names(&paths).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_log_is_called_by_its_file_or_by_the_directories_that_differ() {
        let here = std::env::current_dir().unwrap();
        let [worker, same] = ["sub/worker.log", "other/front.log"].map(|path| here.join(path));
        let [worker, same] = [&worker, &same].map(|path| path.to_str().unwrap());
        for (paths, expected) in [
            (&["front.log"][..], &["front.log"][..]),
            (&["a/front.log", "b/worker.log"], &["front.log", "worker.log"]),
            (&["a/0.log", "b/1.log"], &["a", "b"]),
            (&["x/a/0.log", "x/a/1.log", "x/b/0.log"], &["a/0.log", "a/1.log", "b/0.log"]),
            (&["x/a/s/0.log", "x/b/s/0.log"], &["a", "b"]),
            // Of mixed kinds.
            (&["front.log", worker], &["front.log", "worker.log"]),
            (&["../fr/front.log", "sub/worker.log"], &["front.log", "worker.log"]),
            (&["sub/front.log", same], &["sub", "other"]),
            (&["d1/../d1/same.log", "./d2/same.log"], &["d1", "d2"]),
            (&["src/../src/lib.rs", "tests/lib.rs"], &["src", "tests"]),
            (&["front.log", "/dev/fd/63"], &["front.log", "63"]),
            (&["-", "/logs/front.log"], &["standard input", "front.log"]),
            (&["/0.log", "/b/0.log"], &["0.log", "b"]),
            // The same log.
            (&["a.log", "./a.log"], &["a.log", "a.log"]),
        ] {
            assert_eq!(names(paths), expected, "{paths:?}");
        }
    }

    #[test]
    fn names_that_would_look_the_same_are_told_apart() {
        assert_eq!(names(&["a\nb.log", "c.log"]), ["a\\nb.log", "c.log"]);
        assert_eq!(names(&["a\nb.log", "a\\nb.log"]), ["a\\nb.log", "a\\\\nb.log"]);
    }

    #[cfg(unix)]
    #[test]
    fn bytes_that_are_no_text_tell_names_apart() {
        use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

        let paths = [&b"bad\xff.log"[..], b"bad\xfe.log", b"bad\\xfe.log"];
        let paths = paths.map(|path| Path::new(OsStr::from_bytes(path)));
        assert_eq!(*log_names(&paths), ["bad\\xff.log", "bad\\xfe.log", "bad\\\\xfe.log"].map(Into::into));
    }
}

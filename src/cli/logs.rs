//! Which files a command reads, and in which order.
//!
//! The files of a rotated log become one log again, the oldest first; a directory stands for the logs in it.

use std::{
    collections::HashSet,
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use indicatif::ProgressBar;

use super::{
    chunks::open,
    failure::{Failure, Result},
    files::shown,
    log_file::LogFile,
    log_names::log_names,
    parsed::{Parsed, Parser},
    rotation::{Mark, Name},
    selection::timestamp,
    wrapped::{Begun, Wrapped},
};
use crate::Timestamp;

/// How deep a directory is searched: `/var/log/pods` has a directory for each pod, and in it for each
/// container.
const DEPTH: usize = 8;
/// How many bytes of a file are searched for its first time.
const SEARCHED: u64 = 4 << 20;

/// The files that these arguments stand for, each log at the place of its first file.
pub(super) fn in_order(arguments: &[PathBuf]) -> Result<Vec<LogFile>> {
    let mut sets: Vec<Set> = Vec::new();
    for argument in arguments {
        let is_directory = argument != Path::new("-") && argument.is_dir();
        let paths = if is_directory { logs_in(argument)? } else { vec![argument.clone()] };
        let names: HashSet<_> = arguments.iter().chain(&paths).map(PathBuf::as_path).collect();
        for path in &paths {
            let name = Name::of(path, &|path| names.contains(path));
            match sets.iter_mut().find(|set| set.takes(&name)) {
                Some(set) => set.files.push((name.mark, path.clone(), is_directory)),
                None => {
                    let files = vec![(name.mark, path.clone(), is_directory)];
                    sets.push(Set { name: name.log, files });
                }
            }
        }
    }
    let names = log_names(&sets.iter().map(Set::path).collect::<Vec<_>>());
    let files = sets.into_iter().zip(names).enumerate().flat_map(|(log, (set, log_name))| {
        let file = move |(path, is_found)| LogFile { path, log, log_name: Arc::clone(&log_name), is_found };
        set.oldest_first().into_iter().map(file)
    });
    Ok(files.collect())
}

/// The files of one log.
struct Set {
    name: PathBuf,
    files: Vec<(Mark, PathBuf, bool)>,
}

impl Set {
    /// The path of the only file, or of the log before any rotation.
    fn path(&self) -> &Path {
        match self.files.as_slice() {
            [(_, path, _)] => path,
            _ => &self.name,
        }
    }

    /// A second file with the same mark is no part of the log: it is a copy, or the same file.
    fn takes(&self, name: &Name) -> bool {
        self.name == name.log && self.files.iter().all(|(mark, ..)| *mark != name.mark)
    }

    /// The times of the lines decide. What the names say decides where a file has none.
    fn oldest_first(mut self) -> Vec<(PathBuf, bool)> {
        if self.files.len() > 1 {
            self.files.sort_by(|(one, ..), (other, ..)| one.cmp(other));
        }
        let is_alone = self.files.len() == 1;
        let mut last = Timestamp::default();
        let mut files: Vec<_> = self
            .files
            .into_iter()
            .map(|(_, path, is_found)| {
                last = if is_alone { last } else { first_timestamp(&path).unwrap_or(last) };
                (last, path, is_found)
            })
            .collect();
        files.sort_by_key(|(first, ..)| *first);
        files.into_iter().map(|(_, path, is_found)| (path, is_found)).collect()
    }
}

/// The logs in a directory and in those below it, by name.
fn logs_in(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut logs = Vec::new();
    search(directory, DEPTH, &mut logs)?;
    if logs.is_empty() {
        let endings = Name::ENDINGS.map(|ending| format!(".{ending}")).join(", ");
        return Err(Failure::Io(format!("no log in {}: no name ends in {endings}", shown(directory))));
    }
    Ok(logs)
}

fn search(directory: &Path, depth: usize, logs: &mut Vec<PathBuf>) -> Result<()> {
    let unreadable = |error| Failure::Io(format!("cannot read {}: {error}", shown(directory)));
    let entries = fs::read_dir(directory).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
    let mut entries = entries.map_err(unreadable)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        // Links to files are followed, as in /var/log/containers; links to directories may lead in a circle.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if depth > 0 {
                search(&path, depth - 1, logs)?;
            }
        } else if path.is_file() && Name::of(&path, &|_| false).is_of_a_log() {
            logs.push(path);
        }
    }
    Ok(())
}

/// The time of the first line of the layer. A pipe is not searched, since it can be read only once.
fn first_timestamp(path: &Path) -> Option<Timestamp> {
    if !path.is_file() {
        return None;
    }
    let (reader, _) = open(path, &ProgressBar::hidden()).ok()?;
    let mut reader = BufReader::new(reader.take(SEARCHED));
    let (mut line, mut begun) = (Vec::new(), Begun::default());
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line).ok()? == 0 {
            return None;
        }
        let time = |line: &[u8]| match Parser::default().parse(line, &mut |line| timestamp(line)) {
            Parsed::Line(time) => Some(time),
            _ => None,
        };
        let found = match Wrapped::of(&line) {
            None => time(&line),
            Some(wrapped) => begun.add(0, wrapped.into_piece()).find_map(|(_, line)| time(&line)),
        };
        if found.is_some() {
            return found;
        }
    }
}

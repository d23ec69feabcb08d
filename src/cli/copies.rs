//! Copies of inputs that can't be read twice, for commands that read their inputs more than once.

use std::{
    fs::File,
    io::{self, Read, Seek},
    path::{Path, PathBuf},
};

use super::{
    failure::{Failure, Result},
    files::{called, shown},
    log_file::LogFile,
};

/// Copies of standard input and pipes, in temporary files without a name.
#[derive(Debug, Default)]
pub(super) struct Copies(Vec<(PathBuf, File)>);

impl Copies {
    /// Copies standard input and pipes, which takes until their writers close them. A path that can't be
    /// opened has no copy, so that its reader finds the same error.
    pub(super) fn of(files: &[LogFile]) -> Result<Self> {
        let mut copies = Self::default();
        for LogFile { path, .. } in files {
            let is_file = path != Path::new("-") && path.metadata().is_ok_and(|metadata| metadata.is_file());
            if is_file || copies.0.iter().any(|(copied, _)| copied == path) {
                continue;
            }
            let Ok(mut source) = open(path) else { continue };
            let mut copy = tempfile::tempfile()?;
            io::copy(&mut source, &mut copy).map_err(|error| {
                Failure::Io(format!("cannot copy {}, to read it twice: {error}", called(&shown(path))))
            })?;
            copies.0.push((path.clone(), copy));
        }
        Ok(copies)
    }

    /// Opens a path, or its copy from the beginning. One reader at a time may use a copy.
    pub(super) fn open(&self, path: &Path) -> io::Result<Box<dyn Read>> {
        match self.0.iter().find(|(copied, _)| copied == path) {
            None => open(path),
            Some((_, copy)) => {
                let mut copy = copy.try_clone()?;
                copy.rewind()?;
                Ok(Box::new(copy))
            }
        }
    }
}

/// Opens a path, or standard input.
pub(super) fn open(path: &Path) -> io::Result<Box<dyn Read>> {
    Ok(if path == Path::new("-") { Box::new(io::stdin().lock()) } else { Box::new(File::open(path)?) })
}

//! The file that a command writes.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::Path,
};

use super::failure::{Failure, Result};

/// Writes a file. A file that is there keeps its contents until the new ones are complete.
pub(super) fn write<T>(path: &Path, write: impl FnOnce(&mut BufWriter<&File>) -> Result<T>) -> Result<T> {
    let cannot = |error: io::Error| Failure::Io(format!("cannot write {}: {error}", path.display()));
    let there = fs::metadata(path);
    // A pipe or a device is not replaced.
    if there.as_ref().is_ok_and(|there| !there.is_file()) {
        let file = File::options().write(true).open(path).map_err(cannot)?;
        let mut out = BufWriter::new(&file);
        let written = write(&mut out)?;
        out.flush().map_err(cannot)?;
        return Ok(written);
    }
    // Where a link leads, if it is one.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let directory = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let file = new_file(directory).map_err(cannot)?;
    let mut out = BufWriter::new(file.as_file());
    let written = write(&mut out)?;
    out.flush().map_err(cannot)?;
    drop(out);
    if let Ok(there) = there {
        file.as_file().set_permissions(there.permissions()).map_err(cannot)?;
    }
    file.persist(target).map_err(|error| cannot(error.error))?;
    Ok(written)
}

/// A file without a name yet, with the permissions of any new file.
fn new_file(directory: &Path) -> io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".omni-metrics-");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(directory).map_err(|error| without_name(&error))
}

/// The error of the system alone: the name of a file that could not be made says nothing.
fn without_name(error: &io::Error) -> io::Error {
    let text = error.to_string();
    let of_system = text.split_once(" at path ").map_or(&*text, |(of_system, _)| of_system);
    io::Error::new(error.kind(), of_system)
}

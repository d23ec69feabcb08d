//! Writes to the file descriptor of stderr that do not wait for its reader.

use std::{
    fs::{File, Metadata},
    io::{self, Write},
    mem::ManuallyDrop,
    os::{
        fd::FromRawFd,
        unix::fs::{FileTypeExt, MetadataExt},
    },
    ptr,
    time::Duration,
};

/// Stderr, opened so that writes do not wait.
#[derive(Debug)]
pub(crate) struct Stream {
    /// The identity of stderr at the last write.
    written: Option<Identity>,
    /// The identity of stderr when it was last reopened, and the result of that.
    reopened: Option<(Identity, Option<File>)>,
}

/// Device, inode, and for a device file the device that it stands for.
type Identity = (u64, u64, u64);

impl Stream {
    pub(crate) const fn new() -> Self {
        Self { written: None, reopened: None }
    }

    /// Writes as many bytes as fit now; fails with [`io::ErrorKind::WouldBlock`] if none fit. A file on a
    /// disk takes all bytes, however long that lasts.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let stderr = stderr();
        let metadata = stderr.metadata().inspect_err(|_| self.reopened = None)?;
        self.written = Some(identity(&metadata));
        let kind = metadata.file_type();
        if !kind.is_fifo() && !kind.is_char_device() {
            // The host may have redirected a pipe, whose reader waits until every writer has closed it.
            self.reopened = None;
            return if kind.is_socket() { send(bytes) } else { (&*stderr).write(bytes) };
        }
        if let Some(mut file) = self.reopened(&metadata)? {
            return file.write(bytes);
        }
        if !has_room(Duration::ZERO) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        // At least this many bytes fit if there is room at all, unless another writer is faster.
        (&*stderr).write(bytes.get(..libc::PIPE_BUF).unwrap_or(bytes))
    }

    /// Whether stderr is what the last write went to: the host may have redirected it.
    pub(crate) fn is_same(&self) -> bool {
        stderr().metadata().is_ok_and(|metadata| Some(identity(&metadata)) == self.written)
    }

    /// Reopens stderr with `O_NONBLOCK`. The flag belongs to the open file, which the host and other
    /// processes share, so it must not be set on the existing one. `None` if stderr cannot be reopened; the
    /// system may refuse it after a change of user. Fails while no process reads the pipe.
    fn reopened(&mut self, metadata: &Metadata) -> io::Result<Option<&File>> {
        let identity = identity(metadata);
        if self.reopened.as_ref().is_none_or(|(of, _)| *of != identity) {
            let file = match reopen() {
                Err(error) if metadata.file_type().is_fifo() && has_no_reader(&error) => return Err(error),
                file => file.ok(),
            };
            let is_same = |file: &File| file.metadata().is_ok_and(|new| self::identity(&new) == identity);
            self.reopened = Some((identity, file.filter(is_same)));
        }
        Ok(self.reopened.as_ref().and_then(|(_, file)| file.as_ref()))
    }
}

fn has_no_reader(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENXIO)
}

fn identity(metadata: &Metadata) -> Identity {
    (metadata.dev(), metadata.ino(), metadata.rdev())
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn reopen() -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;

    File::options().write(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open("/proc/self/fd/2")
}

/// On other systems, `/dev/fd/2` is the same open file.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn reopen() -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Writes to descriptor 2 without the standard library's lock.
#[allow(unsafe_code, reason = "the standard library has no other way to a file descriptor without owning it")]
fn stderr() -> ManuallyDrop<File> {
    // SAFETY: the descriptor is not closed by this file, which is never dropped. If the host has closed it,
    // the calls fail.
    ManuallyDrop::new(unsafe { File::from_raw_fd(libc::STDERR_FILENO) })
}

/// Waits until stderr has room or has failed. Returns whether that happened.
#[allow(unsafe_code, reason = "the standard library cannot ask for room")]
pub(crate) fn has_room(wait: Duration) -> bool {
    let mut asked = libc::pollfd { fd: libc::STDERR_FILENO, events: libc::POLLOUT, revents: 0 };
    let millis = wait.as_millis().try_into().unwrap_or(libc::c_int::MAX);
    // SAFETY: the pointer is to one `pollfd`, which lives until the call returns.
    let ready = unsafe { libc::poll(ptr::from_mut(&mut asked), 1, millis) };
    ready > 0
}

/// How many bytes are in the pipe that stderr is; `None` if it is none, or if the system does not tell.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[allow(unsafe_code, reason = "the standard library cannot ask for the bytes in a pipe")]
pub(crate) fn unread() -> Option<libc::c_int> {
    let is_pipe = stderr().metadata().is_ok_and(|metadata| metadata.file_type().is_fifo());
    let mut bytes = 0;
    // SAFETY: the pointer is to an integer that lives until the call returns.
    let is_known =
        is_pipe && unsafe { libc::ioctl(libc::STDERR_FILENO, libc::FIONREAD, &raw mut bytes) } == 0;
    is_known.then_some(bytes)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn unread() -> Option<libc::c_int> {
    None
}

/// Writes to a stderr that is a socket, as under systemd, without waiting.
#[allow(unsafe_code, reason = "the standard library cannot send once without waiting")]
fn send(bytes: &[u8]) -> io::Result<usize> {
    // Apple's systems have no flag against SIGPIPE; the standard library ignores the signal.
    #[cfg(target_vendor = "apple")]
    let flags = libc::MSG_DONTWAIT;
    #[cfg(not(target_vendor = "apple"))]
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: pointer and length are those of a slice that lives until the call returns.
    let sent = unsafe { libc::send(libc::STDERR_FILENO, bytes.as_ptr().cast(), bytes.len(), flags) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

//! What the platform says when something does not work: what was tried, where, and the kernel's word for it.

use std::io;

use nix::errno::Errno;

/// The platform's result.
pub type Result<T, E = PlatformError> = std::result::Result<T, E>;

/// Something that could not be done on this host.
#[derive(Debug, thiserror::Error)]
pub enum PlatformError {
    /// The kernel refused or a socket failed.
    #[error("{what}: {source}")]
    Kernel {
        /// What was tried, with the address and the interface.
        what: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The state of the host forbids it; the text says what and what to do.
    #[error("{0}")]
    Refused(String),
}

impl PlatformError {
    /// Wraps the answer of a system call, for `map_err`.
    pub(super) fn kernel<E: Into<io::Error>>(what: impl Into<String>) -> impl FnOnce(E) -> PlatformError {
        move |source| PlatformError::Kernel { what: what.into(), source: source.into() }
    }

    /// Whether this is the kernel's answer `errno`.
    pub fn is(&self, errno: Errno) -> bool {
        matches!(self, PlatformError::Kernel { source, .. } if source.raw_os_error() == Some(errno as i32))
    }
}

//! Random numbers from the kernel.

use std::io;

use lb_common::hash::Secrets;

use super::error::KernelError;

/// Fresh secrets for a hash.
pub(super) fn secrets() -> Result<Secrets, KernelError> {
    let mut secrets: Secrets = [0; 10];
    // SAFETY: the pointer and the length are those of `secrets`, in which every bit pattern is valid.
    let read = unsafe { libc::getrandom(secrets.as_mut_ptr().cast(), size_of_val(&secrets), 0) };
    // Up to 256 bytes come whole or not at all.
    if usize::try_from(read).ok() == Some(size_of_val(&secrets)) {
        Ok(secrets)
    } else {
        Err(KernelError::Random(io::Error::last_os_error()))
    }
}

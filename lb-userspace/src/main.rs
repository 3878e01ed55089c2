//! The `lb` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    lb_userspace::cli::run()
}

//! A VM's server for thousands of connections: `crowd NAME`.

use std::process::ExitCode;

use lb_tests::lab::server::crowd::serve;

fn main() -> ExitCode {
    let Some(name) = std::env::args().nth(1) else {
        eprintln!("usage: crowd NAME");
        return ExitCode::FAILURE;
    };
    if let Err(error) = serve(&name) {
        eprintln!("{error}");
    }
    ExitCode::FAILURE
}

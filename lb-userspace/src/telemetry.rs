//! Logs: to standard error, one line an event.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// The level unless `--log` or `RUST_LOG` says otherwise.
const DEFAULT_FILTER: &str = "info";

/// Starts logging with `filter`, else with `RUST_LOG`, else at level info. Once a process.
///
/// # Errors
/// When the filter has a syntax error.
pub fn start(filter: Option<&str>) -> Result<(), ParseError> {
    let from_environment = std::env::var(EnvFilter::DEFAULT_ENV).ok();
    let filter = filter.or(from_environment.as_deref()).unwrap_or(DEFAULT_FILTER);
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::builder().parse(filter)?)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    Ok(())
}

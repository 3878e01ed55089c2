//! wrk and iperf3, and what they print.

use std::net::SocketAddrV4;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::lab::namespace::{Namespace, output};

/// What wrk says.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Answers {
    /// How many there were.
    pub(super) count: u64,
    /// Questions without an answer.
    pub(super) failed: u64,
    /// Each second.
    pub(super) rate: f64,
    /// Microseconds until half of them were there.
    pub(super) p50: f64,
    /// Microseconds until 99 of 100 were there.
    pub(super) p99: f64,
}

/// Asks for so long, to the next tenth of a second, over so many connections, which go on or are opened for each question.
pub(super) fn ask(
    client: &Namespace,
    server: SocketAddrV4,
    (connections, span): (u32, Duration),
    anew: bool,
) -> Result<Answers> {
    // wrk counts in seconds. Interrupted, it ends as it does by itself.
    let mut command = client.command("timeout");
    command.args(["--preserve-status", "--signal=INT", &span.as_secs_f64().to_string()]);
    command.args(["wrk", "--threads", "1", "--latency", "--timeout", "10s", "--duration", "1m"]);
    command.arg(format!("--connections={connections}"));
    if anew {
        command.args(["--header", "Connection: close"]);
    }
    let text = output(command.arg(format!("http://{server}/")))?;
    read_answers(&text).with_context(|| format!("wrk says {text}"))
}

fn read_answers(text: &str) -> Result<Answers> {
    ensure!(!text.contains("Non-2xx"), "answers are wrong");
    let after = |label: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(label));
        line.map(str::trim).with_context(|| format!("no {label}"))
    };
    let count = text.lines().find_map(|line| line.trim().split_once(" requests in "));
    Ok(Answers {
        count: count.context("no number of requests")?.0.parse().context("a number of requests")?,
        // There is no such line when none has failed.
        failed: after("Socket errors:").map_or(Ok(0), sum)?,
        rate: after("Requests/sec:")?.parse().context("a rate")?,
        p50: microseconds(after("50%")?)?,
        p99: microseconds(after("99%")?)?,
    })
}

/// As `connect 0, read 1, write 0, timeout 0`.
fn sum(failures: &str) -> Result<u64> {
    let number = |failure: &str| failure.split_whitespace().last()?.parse::<u64>().ok();
    let numbers = failures.split(',').map(number).sum::<Option<u64>>();
    numbers.with_context(|| format!("numbers of failures: {failures}"))
}

/// As `1.25ms`.
fn microseconds(text: &str) -> Result<f64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match text.strip_prefix(digits) {
        Some("us") => 1.0,
        Some("ms") => 1e3,
        Some("s") => 1e6,
        unit => anyhow::bail!("{unit:?} is no unit of time"),
    };
    Ok(digits.parse::<f64>().with_context(|| format!("a time: {text}"))? * factor)
}

/// Which way a stream goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    /// From the client.
    Up,
    /// To it.
    Down,
}

/// Sends as much as goes for so many seconds, and says how many gigabits arrive each second.
pub(super) fn stream(client: &Namespace, server: SocketAddrV4, way: Way, seconds: u32) -> Result<f64> {
    let mut command: Command = client.command("iperf3");
    command.args(["--json", "--client", &server.ip().to_string(), "--port", &server.port().to_string()]);
    if way == Way::Down {
        command.arg("--reverse");
    }
    let text = output(command.args(["--time", &seconds.to_string()]))?;
    let report: Value = serde_json::from_str(&text).with_context(|| format!("iperf3 says {text}"))?;
    let rate = report.pointer("/end/sum_received/bits_per_second").and_then(Value::as_f64);
    Ok(rate.with_context(|| format!("no rate in {report}"))? / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Running 1s test @ http://192.0.2.1:8080/
  1 threads and 8 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   122.14us   50.30us   2.18ms   92.22%
    Req/Sec    63.40k     2.09k   65.93k    81.82%
  Latency Distribution
     50%  118.00us
     75%  140.00us
     90%  160.00us
     99%    1.25ms
  69364 requests in 1.10s, 11.05MB read
Requests/sec:  63060.48
Transfer/sec:     10.04MB
";

    #[test]
    fn answers_are_read_with_their_units() {
        let answers = read_answers(TEXT).unwrap();
        assert_eq!(answers, Answers { count: 69_364, failed: 0, rate: 63_060.48, p50: 118.0, p99: 1250.0 });
    }

    #[test]
    fn questions_without_an_answer_are_counted() {
        for (failures, failed) in
            [("connect 0, read 1, write 0, timeout 0", 1), ("connect 1, read 2, write 3, timeout 4", 10)]
        {
            let answers = read_answers(&format!("{TEXT}  Socket errors: {failures}\n")).unwrap();
            assert_eq!((answers.count, answers.failed), (69_364, failed));
        }
        assert!(read_answers(&format!("{TEXT}  Socket errors: connect many\n")).is_err());
    }

    #[test]
    fn wrong_answers_are_none() {
        assert!(read_answers(&format!("{TEXT}  Non-2xx or 3xx responses: 1\n")).is_err());
    }
}

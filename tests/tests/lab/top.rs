//! `lb top`, while there is something to see.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use lb_tests::lab::client::connection;
use lb_tests::lab::ipv6::Family;
use lb_tests::lab::process::Process;
use lb_tests::lab::server::echo;
use lb_tests::lab::topology::{Hook, Topology};
use lb_tests::lab::{SHOP, terminal, wait};
use nix::pty::openpty;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::fixture::{ROUTER_TC, SOON};

/// A listener of the latest view that was shown.
fn latest(log: &str, name: &str) -> Option<Value> {
    let view: Value = log.lines().rev().find_map(|line| serde_json::from_str(line).ok())?;
    view["listeners"].as_array()?.iter().find(|listener| listener["listener"] == name).cloned()
}

#[test]
fn top_shows_who_has_traffic_now_and_gives_the_screen_back() {
    let fixture = ROUTER_TC.take(Topology::Router, Hook::Tc, Family::V4);
    let log = fixture.lab.directory("top").unwrap().join("top.log");
    let arguments = ["top", "front", "-n", SHOP, "--interval", "1", "--count", "600", "-o", "json"];
    let process = Process::start(&mut fixture.lab.installation.command(&arguments), log).unwrap();
    let held = connection::open_many(fixture.lab.client(), fixture.at(echo::PORT), 3).unwrap();
    let is_above_zero = |listener: &Value, rates: &[&str]| {
        rates.iter().all(|rate| listener[format!("{rate}PerSecond")].as_f64().is_some_and(|rate| rate > 0.0))
    };
    wait::until("the traffic is shown", SOON, || {
        fixture.ask(5);
        let web = latest(&process.log(), "web").unwrap_or_default();
        let vms = web["backends"].as_array().map(Vec::as_slice).unwrap_or_default();
        is_above_zero(&web, &["packets", "bytes", "newFlows"])
            && vms.iter().any(|vm| vm["vm"] == "vm1" && is_above_zero(vm, &["packets"]))
    })
    .unwrap_or_else(|error| panic!("{error}: {}", process.log()));
    wait::until("the flows that are held are shown", SOON, || {
        let echo = latest(&process.log(), "echo").unwrap_or_default();
        echo["liveFlows"].as_u64().is_some_and(|flows| flows >= 3)
    })
    .unwrap_or_else(|error| panic!("{error}: {}", process.log()));
    let dns = latest(&process.log(), "dns").unwrap();
    assert_eq!(dns["packetsPerSecond"], 0.0, "{dns}");
    process.kill().unwrap();

    let once = ["top", "-n", SHOP, "--interval", "1", "--by", "live", "--once"];
    let text = fixture.lab.installation.lb(&once).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("shop/"));
    let live = rows.map(|line| line.split_whitespace().collect::<Vec<_>>()).filter(|row| row[2] == "all");
    // The number and the unit of bytes are two words.
    let live: Vec<u64> = live.map(|row| row[8].parse().unwrap()).collect();
    assert!(live.is_sorted_by(|a, b| a >= b) && live[0] >= 3, "{text}");
    drop(held);

    let mut command = fixture.lab.installation.command(&["top", "-A", "--interval", "1", "--count", "1"]);
    let (is_done, shown) = terminal::run(&mut command, "").unwrap();
    let (screen, left) = shown.split_once("\x1b[?1049l").unwrap();
    assert!(is_done && screen.starts_with("\x1b[?1049h"), "{shown:?}");
    assert!(screen.contains("shop/front") && left.contains("shop/front"), "{shown:?}");
    let missing = fixture.lab.installation.run(&["top", "nobody", "-n", SHOP]).unwrap();
    assert!(String::from_utf8_lossy(&missing.stderr).contains("nobody"), "{missing:?}");
}

#[test]
fn top_gives_the_screen_back_while_it_is_stopped_and_when_it_is_quit() {
    const TAKEN: &str = "\x1b[?1049h";
    const GIVEN_BACK: &str = "\x1b[?1049l";
    let fixture = ROUTER_TC.take(Topology::Router, Hook::Tc, Family::V4);
    let mut top = AtTerminal::start(fixture.lab.installation.command(&["top", "-A", "--interval", "3600"]));
    top.shows("it counts", |shown| shown.contains("counting"));
    top.signal(Signal::SIGTSTP);
    top.shows("it has left the screen", |shown| {
        shown.ends_with(GIVEN_BACK) || shown.matches(TAKEN).count() == 2
    });
    wait::until("it is back", SOON, || {
        // It may be a moment before it stops, or go on by itself: without a shell around it the kernel stops nothing.
        top.signal(Signal::SIGCONT);
        top.shown()
            .split_once(GIVEN_BACK)
            .is_some_and(|(_, later)| later.contains(TAKEN) && later.contains("counting"))
    })
    .unwrap_or_else(|error| panic!("{error}: {:?}", top.shown()));
    top.signal(Signal::SIGQUIT);
    top.shows("it has given the screen back", |shown| shown.ends_with(GIVEN_BACK));
    assert!(top.child.wait().unwrap().success());
}

/// A program at a terminal of its own.
struct AtTerminal {
    child: Child,
    shown: Arc<Mutex<Vec<u8>>>,
}

impl AtTerminal {
    fn start(mut command: Command) -> Self {
        let ends = openpty(None, None).unwrap();
        let (mut user, program) = (File::from(ends.master), File::from(ends.slave));
        let child = command.stdin(Stdio::null()).stdout(program).process_group(0).spawn().unwrap();
        let shown = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&shown);
        // Ends by an error when nobody has the other end any more.
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = user.read(&mut buffer) {
                sink.lock().unwrap().extend_from_slice(&buffer[..length]);
            }
        });
        Self { child, shown }
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned()
    }

    fn shows(&self, what: &str, check: impl Fn(&str) -> bool) {
        wait::until(what, SOON, || check(&self.shown()))
            .unwrap_or_else(|error| panic!("{error}: {:?}", self.shown()));
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }
}

impl Drop for AtTerminal {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

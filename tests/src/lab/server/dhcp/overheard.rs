//! What clients say to a server, counted before it hears it: servers log as they like, or not at all.

use anyhow::{Context as _, Result};

use crate::lab::host;
use crate::lab::namespace::{Namespace, output};

/// A client's message (option 53 of RFC 2132).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Message {
    /// The address is somebody's.
    Decline,
    /// The address is given back.
    Release,
}

impl Message {
    const ALL: [Self; 2] = [Self::Decline, Self::Release];

    const fn name(self) -> &'static str {
        match self {
            Self::Decline => "decline",
            Self::Release => "release",
        }
    }

    const fn code(self) -> u8 {
        match self {
            Self::Decline => 4,
            Self::Release => 7,
        }
    }
}

/// Counts them from now on, on an interface of the server's.
///
/// # Errors
/// When a rule is refused.
pub fn count(server: &Namespace, interface: &str) -> Result<()> {
    /// The type is the first option, behind the headers of UDP and BOOTP and the cookie.
    const OPTIONS: usize = (8 + 236 + 4) * 8;
    let counters = Message::ALL.map(|message| format!("counter {} {{ }};", message.name())).concat();
    let rule = |message: Message| {
        let (code, name) = (message.code(), message.name());
        format!("udp dport 67 @th,{OPTIONS},24 {:#x} counter name {name};", 0x35_0100 | u32::from(code))
    };
    let rules = Message::ALL.map(rule).concat();
    let hook = format!("type filter hook ingress device {interface} priority 0; policy accept;");
    host::filter(
        server,
        &format!("table netdev overheard {{ {counters} chain ingress {{ {hook} {rules} }}; }}\n"),
    )
}

/// How many it has heard.
///
/// # Errors
/// When they are not counted.
pub fn heard(server: &Namespace, message: Message) -> Result<u64> {
    let counter = ["list", "counter", "netdev", "overheard", message.name()];
    let text = output(server.command("nft").args(counter))?;
    packets(&text).with_context(|| format!("no counter in {text}"))
}

/// Lets nothing through to a server that is sent to it alone, and counts that: from a node's interface.
///
/// # Errors
/// When a rule is refused.
pub fn deafen(node: &Namespace, interface: &str, server: std::net::Ipv4Addr) -> Result<()> {
    let hook = format!("type filter hook egress device {interface} priority 0; policy accept;");
    let rule = format!("ip daddr {server} udp dport 67 counter name unheard drop;");
    host::filter(
        node,
        &format!("table netdev deaf {{ counter unheard {{ }}; chain out {{ {hook} {rule} }}; }}\n"),
    )
}

/// How many messages [`deafen`] has dropped.
///
/// # Errors
/// When it was not called.
pub fn unheard(node: &Namespace) -> Result<u64> {
    let text = output(node.command("nft").args(["list", "counter", "netdev", "deaf", "unheard"]))?;
    packets(&text).with_context(|| format!("no counter in {text}"))
}

fn packets(text: &str) -> Option<u64> {
    text.split_whitespace().skip_while(|word| *word != "packets").nth(1)?.parse().ok()
}

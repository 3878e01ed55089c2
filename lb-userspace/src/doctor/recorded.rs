//! A system of recorded files and outputs, for tests.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use super::ground::{Ground, Interface};
use super::model::{Finding, Severity};
use super::system::System;
use crate::config;
use crate::datapath::port::{Hook, Role};
use crate::inventory::links::LinkKind;

/// Files by path, outputs by command line.
#[derive(Default)]
pub(super) struct Recorded {
    texts: BTreeMap<String, String>,
    ahead: Option<Duration>,
}

impl Recorded {
    /// With one more file or output.
    pub(super) fn with(mut self, name: &str, text: &str) -> Self {
        self.texts.insert(name.to_owned(), text.to_owned());
        self
    }

    /// With files that were changed in the future.
    pub(super) fn ahead(self, ahead: Duration) -> Self {
        Self { ahead: Some(ahead), ..self }
    }
}

impl System for Recorded {
    fn read(&self, path: &str) -> io::Result<String> {
        self.texts.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn run(&self, program: &str, arguments: &[&str]) -> io::Result<String> {
        self.read(&[&[program], arguments].concat().join(" "))
    }

    fn ahead(&self, _path: &str) -> Option<Duration> {
        self.ahead
    }
}

/// An uplink that is served by a hook.
pub(super) fn uplink(name: &str, hook: Hook) -> Interface {
    Interface {
        ifindex: 3,
        name: name.to_owned(),
        role: Role::Uplink,
        kind: LinkKind::Physical,
        wanted: config::Hook::Auto,
        hook: Some(hook),
        is_attached: false,
        reason: String::new(),
        up: true,
        mtu: 1500,
        bridge: None,
        is_virtual: false,
    }
}

/// A node with these interfaces.
pub(super) fn ground(interfaces: Vec<Interface>) -> Ground {
    Ground { interfaces, ..Ground::default() }
}

/// What people act on, in short.
pub(super) fn brief(findings: &[Finding]) -> Vec<(Severity, &str, &str)> {
    findings.iter().map(|f| (f.severity, f.subject.as_str(), f.remedy.as_str())).collect()
}

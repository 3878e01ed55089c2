//! Which flows are asked for.

use serde::{Deserialize, Serialize};

use super::names::Names;
use super::pattern::Pattern;
use super::{DEFAULT_LIMIT, state};
use crate::datapath::flows::model::{Flow, State};
use crate::datapath::model::Protocol;

/// Filters as they are written; all that are given must fit.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawQuery {
    /// Address, address:port or range.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vip: Option<String>,
    /// Address, address:port or range.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// Server address, address:port or range.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
    /// The name of a VM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vm: Option<String>,
    /// A load balancer: name, or namespace/name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lb: Option<String>,
    /// A state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// `tcp` or `udp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// How many are shown; 0 shows all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

/// Checked filters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Query {
    vip: Option<Pattern>,
    client: Option<Pattern>,
    backend: Option<Pattern>,
    vm: Option<String>,
    lb: Option<String>,
    state: Option<&'static str>,
    protocol: Option<Protocol>,
    /// How many are shown.
    pub(super) limit: usize,
}

impl Query {
    /// Checks what was written.
    ///
    /// # Errors
    /// All that is wrong, each with its field and what to write instead.
    pub fn check(raw: &RawQuery) -> Result<Self, String> {
        let mut wrong = Vec::new();
        let mut pattern = |field: &str, text: &Option<String>| -> Option<Pattern> {
            let parsed = text.as_ref()?.parse::<Pattern>();
            parsed.map_err(|error| wrong.push(format!("{field}: {error}"))).ok()
        };
        let (vip, client) = (pattern("vip", &raw.vip), pattern("client", &raw.client));
        let backend = pattern("backend", &raw.backend);
        let state = one_of("state", raw.state.as_deref(), &STATES, &mut wrong).map(state);
        let protocol = one_of("protocol", raw.protocol.as_deref(), &PROTOCOLS, &mut wrong);
        if !wrong.is_empty() {
            return Err(wrong.join("; "));
        }
        let limit = match raw.limit {
            None => DEFAULT_LIMIT,
            Some(0) => usize::MAX,
            Some(limit) => limit,
        };
        Ok(Self { vip, client, backend, vm: raw.vm.clone(), lb: raw.lb.clone(), state, protocol, limit })
    }

    /// Is this flow asked for? What is cheap is asked first.
    pub(super) fn fits(&self, flow: &Flow, names: &Names) -> bool {
        self.protocol.is_none_or(|protocol| protocol == flow.protocol)
            && self.state.is_none_or(|name| name == state(flow.state))
            && self.vip.is_none_or(|pattern| pattern.fits(flow.vip))
            && self.client.is_none_or(|pattern| pattern.fits(flow.client))
            && self.backend.is_none_or(|pattern| pattern.fits(flow.server))
            && self.vm.as_ref().is_none_or(|vm| names.vm(flow) == Some(vm))
            && self.lb.as_ref().is_none_or(|lb| {
                names.load_balancer(flow).is_some_and(|key| key.name == *lb || key.to_string() == *lb)
            })
    }
}

const STATES: [(&str, State); 4] = [
    ("opening", State::Opening),
    ("established", State::Established),
    ("finished", State::Finished),
    ("closing", State::Closing),
];

const PROTOCOLS: [(&str, Protocol); 2] = [("tcp", Protocol::Tcp), ("udp", Protocol::Udp)];

fn one_of<T: Copy>(
    field: &str,
    text: Option<&str>,
    values: &[(&str, T)],
    wrong: &mut Vec<String>,
) -> Option<T> {
    let text = text?;
    let found = values.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)).map(|(_, value)| *value);
    if found.is_none() {
        let words: Vec<_> = values.iter().map(|(word, _)| *word).collect();
        wrong.push(format!("{field}: {text:?} is not known; use {}", words.join(", ")));
    }
    found
}

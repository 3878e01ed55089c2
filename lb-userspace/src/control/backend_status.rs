//! What a load balancer's status says of each backend.

use std::collections::{BTreeMap, BTreeSet};

use super::desired::own;
use super::select::Member;
use crate::health::model::{Health, OfBalancer, Reason, Target};
use crate::model::check::{CheckedLoadBalancer, ListenerCheck};
use crate::model::load_balancer::{BackendStatus, ListenerStatus, LoadBalancerStatus};

/// The state of a backend that takes new flows.
pub const BACKEND_READY: &str = "Ready";
/// The state of a backend that takes none.
pub const BACKEND_NOT_READY: &str = "NotReady";
/// The reason of a backend without an address.
const NO_ADDRESS: &str = "NoAddress";

/// What a status found ready: what a prober that starts anew begins with.
pub fn were_ready(status: &LoadBalancerStatus) -> BTreeSet<Target> {
    let mut ready = BTreeSet::new();
    for backend in &status.backends {
        let Ok(address) = backend.address.parse() else { continue };
        if backend.state == BACKEND_READY {
            ready.insert(Target { address, listener: None });
        }
        for listener in backend.listeners.iter().filter(|listener| listener.state == BACKEND_READY) {
            ready.insert(Target { address, listener: Some(listener.name.as_str().into()) });
        }
    }
    ready
}

/// The backends of a load balancer that were `old`. `now` becomes the time of what has changed.
pub(super) fn backends(
    old: &[BackendStatus],
    lb: &CheckedLoadBalancer,
    members: &[Member],
    health: Option<&OfBalancer<Health>>,
    now: &str,
) -> Vec<BackendStatus> {
    let known: BTreeMap<&str, &BackendStatus> = old.iter().map(|old| (old.vm.as_str(), old)).collect();
    members.iter().map(|member| backend(known.get(&*member.vm).copied(), lb, member, health, now)).collect()
}

/// How a backend is, by one check.
struct State {
    ready: bool,
    reason: &'static str,
    message: String,
}

impl State {
    fn of(member: &Member, listener: Option<&str>, health: Option<&OfBalancer<Health>>) -> Self {
        let Some(address) = member.address() else {
            return Self { ready: false, reason: NO_ADDRESS, message: String::new() };
        };
        let target = Target { address, listener: listener.map(Into::into) };
        let Some(health) = health.and_then(|health| health.get(&target)) else {
            return Self { ready: false, reason: Reason::NotProbed.name(), message: String::new() };
        };
        Self { ready: health.ready, reason: health.reason.name(), message: health.reason.message() }
    }

    const fn word(&self) -> &'static str {
        if self.ready { BACKEND_READY } else { BACKEND_NOT_READY }
    }
}

fn backend(
    old: Option<&BackendStatus>,
    lb: &CheckedLoadBalancer,
    member: &Member,
    health: Option<&OfBalancer<Health>>,
    now: &str,
) -> BackendStatus {
    let listeners = lb.listeners.iter().filter_map(own);
    let listeners: Vec<ListenerStatus> = listeners
        .map(|name| {
            let old = old.and_then(|old| old.listeners.iter().find(|old| *old.name == *name));
            let state = State::of(member, Some(&name), health);
            let since = old.filter(|old| old.state == state.word()).map(|old| &old.last_transition_time);
            ListenerStatus {
                name: (*name).to_owned(),
                state: state.word().to_owned(),
                reason: state.reason.to_owned(),
                message: state.message,
                last_transition_time: since.map_or_else(|| now.to_owned(), Clone::clone),
            }
        })
        .collect();
    let is_shared = lb.listeners.is_empty()
        || lb.listeners.iter().any(|listener| listener.health_check == ListenerCheck::Shared);
    let (state, reason, message) = if is_shared {
        let state = State::of(member, None, health);
        (state.word().to_owned(), state.reason.to_owned(), state.message)
    } else {
        summary(&listeners)
    };
    let since = old.filter(|old| old.state == state).map(|old| &old.last_transition_time);
    BackendStatus {
        vm: (*member.vm).to_owned(),
        address: member.address().map(|address| address.to_string()).unwrap_or_default(),
        last_transition_time: since.map_or_else(|| now.to_owned(), Clone::clone),
        state,
        reason,
        message,
        listeners,
    }
}

/// State, reason and message of a backend whose listeners all have checks of their own: ready if any is, and what
/// is wrong with the first that is not.
fn summary(listeners: &[ListenerStatus]) -> (String, String, String) {
    let is_ready = |listener: &&ListenerStatus| listener.state == BACKEND_READY;
    let state =
        if listeners.iter().any(|listener| is_ready(&listener)) { BACKEND_READY } else { BACKEND_NOT_READY };
    let told = listeners.iter().find(|listener| !is_ready(listener)).or_else(|| listeners.first());
    let (reason, message) = told.map_or_else(Default::default, |told| {
        let message = match told.message.as_str() {
            "" => String::new(),
            message => format!("listener {}: {message}", told.name),
        };
        (told.reason.clone(), message)
    });
    (state.to_owned(), reason, message)
}

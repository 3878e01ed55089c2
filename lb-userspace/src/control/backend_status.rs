//! What a load balancer's status says of each backend.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use smol_str::{SmolStr, ToSmolStr as _, format_smolstr};

use super::desired::own;
use super::select::Member;
use crate::health::model::{Health, Reason, Target};
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
    for backend in status.backends.iter() {
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
pub(super) fn backends<'a>(
    old: &[BackendStatus],
    lb: &CheckedLoadBalancer,
    members: &[Member],
    health: impl Fn(&Target) -> Option<&'a Health>,
    now: &str,
) -> Arc<[BackendStatus]> {
    let now = &now.to_smolstr();
    let known: BTreeMap<&str, &BackendStatus> = old.iter().map(|old| (old.vm.as_str(), old)).collect();
    members
        .iter()
        .map(|member| backend(known.get(member.vm.as_str()).copied(), lb, member, &health, now))
        .collect()
}

/// How a backend is, by one check.
struct State {
    ready: bool,
    reason: &'static str,
    message: SmolStr,
}

impl State {
    fn of<'a>(
        member: &Member,
        listener: Option<&str>,
        health: impl Fn(&Target) -> Option<&'a Health>,
    ) -> Self {
        let Some(address) = member.address() else {
            return Self { ready: false, reason: NO_ADDRESS, message: SmolStr::default() };
        };
        let target = Target { address, listener: listener.map(Into::into) };
        let Some(health) = health(&target) else {
            return Self { ready: false, reason: Reason::NotProbed.name(), message: SmolStr::default() };
        };
        Self { ready: health.ready, reason: health.reason.name(), message: health.reason.message().into() }
    }

    const fn word(&self) -> &'static str {
        if self.ready { BACKEND_READY } else { BACKEND_NOT_READY }
    }
}

fn backend<'a>(
    old: Option<&BackendStatus>,
    lb: &CheckedLoadBalancer,
    member: &Member,
    health: &impl Fn(&Target) -> Option<&'a Health>,
    now: &SmolStr,
) -> BackendStatus {
    let listeners = lb.listeners.iter().filter_map(own);
    let listeners: Vec<ListenerStatus> = listeners
        .map(|name| {
            let old = old.and_then(|old| old.listeners.iter().find(|old| *old.name == *name));
            let state = State::of(member, Some(&name), health);
            let since = old.filter(|old| old.state == state.word()).map(|old| &old.last_transition_time);
            ListenerStatus {
                name: name.into(),
                state: SmolStr::new_static(state.word()),
                reason: SmolStr::new_static(state.reason),
                message: state.message,
                last_transition_time: since.unwrap_or(now).clone(),
            }
        })
        .collect();
    let is_shared = lb.listeners.is_empty()
        || lb.listeners.iter().any(|listener| listener.health_check == ListenerCheck::Shared);
    let (state, reason, message) = if is_shared {
        let state = State::of(member, None, health);
        (SmolStr::new_static(state.word()), SmolStr::new_static(state.reason), state.message)
    } else {
        summary(&listeners)
    };
    let since = old.filter(|old| old.state == state).map(|old| &old.last_transition_time);
    BackendStatus {
        vm: member.vm.clone(),
        address: member.address().map(|address| address.to_smolstr()).unwrap_or_default(),
        last_transition_time: since.unwrap_or(now).clone(),
        state,
        reason,
        message,
        listeners,
    }
}

/// State, reason and message of a backend whose listeners all have checks of their own: ready if any is, and what
/// is wrong with the first that is not.
fn summary(listeners: &[ListenerStatus]) -> (SmolStr, SmolStr, SmolStr) {
    let is_ready = |listener: &&ListenerStatus| listener.state == BACKEND_READY;
    let state =
        if listeners.iter().any(|listener| is_ready(&listener)) { BACKEND_READY } else { BACKEND_NOT_READY };
    let told = listeners.iter().find(|listener| !is_ready(listener)).or_else(|| listeners.first());
    let (reason, message) = told.map_or_else(Default::default, |told| {
        let message = match told.message.as_str() {
            "" => SmolStr::default(),
            message => format_smolstr!("listener {}: {message}", told.name),
        };
        (told.reason.clone(), message)
    });
    (SmolStr::new_static(state), reason, message)
}

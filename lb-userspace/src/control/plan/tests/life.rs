//! Backends that leave by and by, and those that begin slowly.

use super::*;

const TIME: Duration = Duration::from_mins(1);

/// As [`one_listener`]; backends that leave have [`TIME`], and `running` are the VMs that run.
fn draining(backends: &[(u8, bool)], running: &[u8]) -> Desired {
    let mut desired = one_listener(backends);
    for listener in desired.listeners.values_mut() {
        listener.draining = Some(TIME);
    }
    desired.running = running.iter().map(|&last| server(last).ip()).collect();
    desired
}

fn state(node: &Node, last: u8) -> BackendState {
    node.entry(last).1.state
}

/// Both cases end alike: when the time is over, and not before.
fn ends_after_its_time(mut node: Node, leaving: &Desired) {
    node.reach(leaving);
    assert_eq!(state(&node, 11), BackendState::Draining);
    assert_eq!(servers_of(&node.observe(), listener(1, 80)), BTreeMap::from([(server(12), 251)]));
    assert_eq!(node.planner.poll_timeout(), Some(node.now + TIME));
    let short = Duration::from_nanos(1);
    node.now += TIME.saturating_sub(short);
    assert_eq!(node.reach(leaving), []);
    node.now += short;
    node.reach(leaving);
    assert_eq!(state(&node, 11), BackendState::Dead);
    assert_eq!((node.planner.poll_timeout(), node.reach(leaving)), (None, Vec::new()));
}

fn two_serve(desired: &Desired) -> Node {
    let mut node = Node::new();
    node.reach(desired);
    node
}

#[test]
fn an_unhealthy_backend_with_a_deadline_ends_after_it() {
    let node = two_serve(&draining(&[(11, true), (12, true)], &[11, 12]));
    ends_after_its_time(node, &draining(&[(11, false), (12, true)], &[11, 12]));
}

#[test]
fn a_backend_that_is_not_selected_any_more_finishes_its_flows_while_its_vm_runs() {
    let both = draining(&[(11, true), (12, true)], &[11, 12]);
    ends_after_its_time(two_serve(&both), &draining(&[(12, true)], &[11, 12]));
    let mut node = two_serve(&both);
    node.reach(&draining(&[(12, true)], &[11, 12]));
    node.reach(&draining(&[(12, true)], &[12]));
    assert_eq!(state(&node, 11), BackendState::Dead, "its VM has stopped");
}

#[test]
fn a_backend_that_comes_back_while_draining_is_its_old_self() {
    let both = draining(&[(11, true), (12, true)], &[11, 12]);
    let mut node = two_serve(&both);
    let id = node.entry(11).0;
    node.reach(&draining(&[(12, true)], &[11, 12]));
    node.now += TIME / 2;
    node.reach(&both);
    assert_eq!((node.entry(11).0, state(&node, 11)), (id, BackendState::Active));
    node.reach(&draining(&[(12, true)], &[11, 12]));
    assert_eq!(node.planner.poll_timeout(), Some(node.now + TIME), "its time begins anew");
}

#[test]
fn after_a_restart_the_time_begins_anew() {
    let leaving = draining(&[(12, true)], &[11, 12]);
    let mut node = two_serve(&draining(&[(11, true), (12, true)], &[11, 12]));
    node.reach(&leaving);
    node.now += TIME;
    node.restart();
    assert_eq!(node.reach(&leaving), []);
    assert_eq!(node.planner.poll_timeout(), Some(node.now + TIME));
}

#[test]
fn weight_zero_takes_no_new_flows_and_keeps_the_old_ones() {
    let mut node = two_serve(&one_listener(&[(11, true), (12, true)]));
    let mut desired = one_listener(&[(11, true), (12, true)]);
    let listeners = desired.listeners.values_mut();
    listeners.for_each(|listener| listener.backends.get_mut(&server(11)).unwrap().weight = 0);
    node.reach(&desired);
    assert_eq!(state(&node, 11), BackendState::Draining);
    assert_eq!(servers_of(&node.observe(), listener(1, 80)), BTreeMap::from([(server(12), 251)]));
    assert_eq!(node.planner.poll_timeout(), None);
}

/// With each plan it was given another id, to drain anew.
#[test]
fn weight_zero_needs_no_id_once_its_flows_are_over() {
    let mut desired = draining(&[(11, true)], &[11]);
    let mut node = two_serve(&desired);
    let backend = desired.listeners.get_mut(&listener(1, 80)).unwrap().backends.get_mut(&server(11)).unwrap();
    backend.weight = 0;
    node.reach(&desired);
    node.now += TIME;
    node.reach(&desired);
    assert_eq!((state(&node, 11), node.reach(&desired)), (BackendState::Dead, Vec::new()));
    assert_eq!(
        (Node::new().plan(&desired).unplaced_backends, node.observe().backends.len()),
        (Vec::new(), 1)
    );
}

/// The slots of .11 beside one other backend.
fn share(node: &Node) -> usize {
    servers_of(&node.observe(), listener(1, 80)).get(&server(11)).copied().unwrap_or_default()
}

#[test]
fn a_backend_that_gets_ready_takes_its_share_in_steps() {
    let slow = |backends: &[(u8, bool)]| {
        let mut desired = one_listener(backends);
        desired.listeners.values_mut().for_each(|listener| listener.slow_start = Duration::from_secs(100));
        desired
    };
    let both = slow(&[(11, true), (12, true)]);
    let mut node = two_serve(&slow(&[(12, true)]));
    node.now += Duration::from_secs(100);
    node.reach(&slow(&[(12, true)]));
    node.reach(&both);
    let mut shares = vec![share(&node)];
    while let Some(due) = node.planner.poll_timeout() {
        node.now = due;
        node.reach(&both);
        shares.push(share(&node));
    }
    let expected = (1..=10).map(|step| 251 * step / (10 + step));
    for (share, expected) in shares.iter().zip(expected) {
        assert!(share.abs_diff(expected) <= 2, "{shares:?}");
    }
    assert_eq!((shares.len(), node.planner.poll_timeout()), (10, None));
}

#[test]
fn backends_that_get_ready_together_share_alike_from_the_start() {
    let mut desired = one_listener(&[(11, true), (12, true)]);
    desired.listeners.values_mut().for_each(|listener| listener.slow_start = TIME);
    let mut node = two_serve(&desired);
    assert!(share(&node).abs_diff(125) <= 1);
    while let Some(due) = node.planner.poll_timeout() {
        node.now = due;
        assert_eq!(node.reach(&desired), [], "the same table");
    }
}

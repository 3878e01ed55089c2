//! Addresses from DHCP servers that people run, and traffic to them.

mod keeping;
mod losing;
mod scene;
mod vlan;

use std::thread;

use lb_tests::lab::server::dhcp::{Make, Terms};
use lb_tests::skip::skip;

use scene::OFTEN;

/// Tells a story with servers of each of these makes, at the same time, each in a lab of its own.
fn with(makes: &[Make], story: impl Fn(Make) + Sync) {
    let (there, missing): (Vec<Make>, Vec<Make>) = makes.iter().partition(|make| make.is_there());
    if !missing.is_empty() {
        let programs: Vec<_> = missing.iter().map(|make| make.program()).collect();
        skip(&format!("not installed: {}", programs.join(", ")));
    }
    let failed: Vec<Make> = thread::scope(|scope| {
        let told = there.iter().map(|make| {
            let name = format!("with {make:?}");
            (*make, thread::Builder::new().name(name).spawn_scoped(scope, || story(*make)).unwrap())
        });
        let told: Vec<_> = told.collect();
        told.into_iter().filter_map(|(make, story)| story.join().is_err().then_some(make)).collect()
    });
    assert!(failed.is_empty(), "it failed with {failed:?}");
}

#[test]
fn c26_leases_are_extended_asked_for_again_and_given_back() {
    with(&Make::ALL, keeping::a_lease_lives);
}

#[test]
fn a_lease_is_extended_at_t2_by_a_server_that_hears_only_broadcasts() {
    with(&Make::ALL, keeping::a_lease_is_extended_by_broadcasts);
}

#[test]
fn an_address_that_somebody_uses_is_declined() {
    with(&Make::ALL, losing::an_address_in_use_is_declined);
}

#[test]
fn a_refused_address_is_left_for_another() {
    with(&Make::ALL, losing::a_refused_address_is_left);
}

#[test]
fn another_server_is_followed_when_the_first_is_gone() {
    with(&Make::ALL, losing::another_server_is_followed);
}

#[test]
fn an_address_outlives_its_server_by_a_lease_and_comes_back_with_it() {
    let quick: Vec<Make> = Make::ALL.into_iter().filter(|make| make.lends_for_seconds()).collect();
    let terms = Terms { renew: 1, rebind: 2, end: 3 };
    with(&quick, |make| losing::an_address_outlives_its_server_by_a_lease(make, terms, 10));
}

/// Two leases of two minutes each.
#[test]
fn dnsmasq_comes_back_long_after_its_lease_has_ended() {
    if std::env::var_os("LB_LONG").is_none() {
        return skip("dnsmasq lends for no less than two minutes; LB_LONG=1 waits for the end");
    }
    let terms = Terms { end: 120, ..OFTEN };
    with(&[Make::Dnsmasq], |make| losing::an_address_outlives_its_server_by_a_lease(make, terms, 2));
}

#[test]
fn an_address_of_a_vlan_is_asked_for_and_answered_in_it() {
    with(&Make::ALL, vlan::an_address_of_a_vlan);
}

/// That is the agent's affair: one server will do.
#[test]
fn what_can_not_be_sent_is_told() {
    with(&[Make::Udhcpd], losing::silence_is_told);
}

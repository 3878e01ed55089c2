//! Renewing, rebinding, rebooting, and the end of a lease.

use super::*;

#[test]
fn its_server_is_asked_for_more_time_at_t1_and_gives_it() {
    let mut lab = Lab::bound();
    lab.until(Phase::Renewing);
    let renewing = lab.now;
    let granted = *lab.machine.held().unwrap();
    assert!((LEASE * 7 / 16..=LEASE / 2).contains(&lab.left(granted.expires_at).abs_diff(LEASE)));
    let sent = lab.sent();
    let [(request, Some(SERVER))] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!(
        (request.kind, request.using, request.requested, request.server),
        (RequestKind::Request, Some(ADDRESS), None, None)
    );
    lab.answer(ReplyKind::Ack, SERVER);
    assert_eq!(lab.machine.phase(), Phase::Bound);
    assert_eq!(lab.machine.held().unwrap().expires_at, Some(renewing + LEASE));
    assert_eq!(lab.commands(), [], "it has been announced before");
}

#[test]
fn any_server_is_asked_at_t2_and_may_be_another() {
    let mut lab = Lab::bound();
    lab.until(Phase::Rebinding);
    let sent = lab.sent();
    let (last, renewals) = sent.split_last().unwrap();
    assert!(renewals.len() > 1 && renewals.iter().all(|(_, server)| *server == Some(SERVER)), "{sent:?}");
    assert_eq!((last.0.using, last.1), (Some(ADDRESS), None));
    assert_eq!(lab.left(lab.machine.held().unwrap().expires_at), LEASE / 8);
    lab.answer(ReplyKind::Ack, OTHER);
    assert_eq!((lab.machine.phase(), lab.machine.held().unwrap().server), (Phase::Bound, OTHER));
}

#[test]
fn an_address_is_used_until_its_lease_ends_and_not_a_moment_longer() {
    let mut lab = Lab::bound();
    let end = lab.machine.held().unwrap().expires_at.unwrap();
    lab.until(Phase::Rebinding);
    while lab.machine.poll_timeout().unwrap() < end {
        lab.step();
        assert!(lab.machine.held().is_some());
    }
    lab.machine.handle_timeout(end.checked_sub(Duration::from_millis(1)).unwrap());
    assert!(lab.machine.held().is_some());
    lab.commands();
    lab.now = end;
    lab.machine.handle_timeout(end);
    assert_eq!(lab.machine.held(), None);
    assert_eq!(lab.machine.problem(), Some(&Problem::Expired(ADDRESS)));
    let sent = lab.sent();
    assert_eq!(
        (sent[0].0.kind, sent[0].0.requested),
        (RequestKind::Discover, Some(ADDRESS)),
        "the same again"
    );
}

#[test]
fn a_refusal_ends_the_use_of_an_address_at_once() {
    for mut lab in [Lab::rebooting(), Lab::bound(), Lab::bound()]
        .into_iter()
        .zip([Phase::Rebooting, Phase::Renewing, Phase::Rebinding])
        .map(|(mut lab, phase)| {
            lab.until(phase);
            lab
        })
    {
        let server = if lab.machine.phase() == Phase::Rebinding { OTHER } else { SERVER };
        assert!(lab.machine.held().is_some());
        lab.answer(ReplyKind::Nak, server);
        assert_eq!((lab.machine.phase(), lab.machine.held()), (Phase::Init, None));
        lab.commands();
        lab.step();
        assert_eq!(lab.sent()[0].0.requested, None, "it is not asked for again");
    }
}

#[test]
fn after_a_restart_the_address_is_asked_for_while_it_is_used() {
    let mut lab = Lab::rebooting();
    assert_eq!(lab.machine.held().unwrap().address, ADDRESS);
    let sent = lab.sent();
    let [(request, None)] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!(
        (request.kind, request.requested, request.using, request.server),
        (RequestKind::Request, Some(ADDRESS), None, None)
    );
    lab.answer(ReplyKind::Ack, OTHER);
    assert_eq!((lab.machine.phase(), lab.machine.held().unwrap().server), (Phase::Bound, OTHER));
    assert_eq!(lab.left(lab.machine.held().unwrap().expires_at), LEASE);
    assert_eq!(lab.commands(), [Command::Announce(ADDRESS)], "the MAC may be another one");
    lab.step();
    assert_eq!(lab.commands(), [Command::Announce(ADDRESS)]);
}

#[test]
fn after_a_restart_without_a_server_the_lease_goes_on_as_it_was() {
    let mut lab = Lab::rebooting();
    let before = *lab.machine.held().unwrap();
    lab.until(Phase::Bound);
    assert_eq!(lab.machine.held(), Some(&before));
    assert_eq!(lab.commands().last(), Some(&Command::Announce(ADDRESS)));
    lab.until(Phase::Renewing);
    lab.until(Phase::Rebinding);
    lab.until(Phase::Selecting);
    assert_eq!(lab.now, before.expires_at.unwrap());
}

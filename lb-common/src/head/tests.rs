use super::*;
use proptest::prelude::*;

const PORTS: (Be16, Be16) = (Be16::new(40_000), Be16::new(80));

fn kind() -> impl Strategy<Value = Kind> {
    (2_u8..7, any::<[bool; 4]>()).prop_map(|(state, [reply, masquerade, at_egress, partial])| Kind {
        state: State::from_bits(state),
        reply,
        masquerade,
        at_egress,
        partial,
    })
}

proptest! {
    #[test]
    fn a_head_gives_back_what_it_was_made_of(a: u16, b: u16, udp: bool, kind in kind(), previous: u64) {
        let protocol = if udp { Protocol::Udp } else { Protocol::Tcp };
        let previous = Head(previous);
        let head = Head::new((Be16::new(a), Be16::new(b)), protocol, kind, previous);
        prop_assert_eq!(head.ports(), (Be16::new(a), Be16::new(b)));
        prop_assert_eq!(head.protocol(), protocol);
        prop_assert_eq!(head.kind(), kind);
        prop_assert_eq!(head.version(), previous.version().wrapping_add(1));
        prop_assert_eq!(head.overflowed(), previous.overflowed());
        prop_assert!(head.matches(Head::wanted(head.ports(), protocol)));
    }
}

proptest! {
    #[test]
    fn a_head_is_published_by_an_addition_that_leaves_the_marks(
        a: u16, b: u16, udp: bool, kind in kind(), previous: u64, marks: u8,
    ) {
        let (previous, protocol) = (Head(previous), if udp { Protocol::Udp } else { Protocol::Tcp });
        let head = Head::new((Be16::new(a), Be16::new(b)), protocol, kind, previous);
        let marked = |head: Head| head.0 & !MARKS | u64::from(marks) << 40;
        prop_assert_eq!(marked(previous.busy()).wrapping_add(head.minus(previous.busy())), marked(head));
    }
}

#[test]
fn busy_and_empty_entries_match_nobody() {
    let kind =
        Kind { state: State::Opening, reply: false, masquerade: false, at_egress: false, partial: false };
    let head = Head::new(PORTS, Protocol::Tcp, kind, Head::default());
    let wanted = Head::wanted(PORTS, Protocol::Tcp);
    assert!(head.matches(wanted));
    assert!(!head.busy().matches(wanted));
    assert!(!head.emptied().matches(wanted));
    assert!(!head.matches(Head::wanted(PORTS, Protocol::Udp)));
    assert!(!Head::default().matches(0));
}

#[test]
fn what_nothing_or_an_answer_was_seen_of_is_half_open() {
    let half_open = |bits: &u8| Head::default().with_state_bits(*bits).beyond_half_open() == 0;
    assert_eq!((0..7).filter(half_open).collect::<Vec<_>>(), [State::Opening as u8, State::Replied as u8]);
}

#[test]
fn marks_survive_a_claim_and_states_keep_the_version() {
    let head = Head::default().with_overflowed(true);
    assert!(head.busy().overflowed() && head.emptied().overflowed());
    assert_eq!(head.emptied().version(), 1);
    assert_eq!(head.with_state(State::Closing).version(), head.version());
    assert!(!head.with_overflowed(false).overflowed());
}

#[test]
fn every_spill_changes_the_head_and_nothing_but_its_marks() {
    let mut head = Head(u64::MAX).busy().with_overflowed(false);
    for _ in 0..300 {
        let after = head.spilled();
        assert!(after != head && after.overflowed());
        assert_eq!(after.0 & !MARKS, head.0 & !MARKS);
        head = after;
    }
}

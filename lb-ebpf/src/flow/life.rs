//! The life of a flow: what each packet does to the states of its two halves.

use lb_common::head::State;
use network_types::tcp::TcpHdr;

/// What a packet says about its connection. Not an `enum`: the compiler would know its range, and leave out
/// the bounds that the verifier wants to see where it is an index.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event(u8);

impl Event {
    /// A TCP SYN without ACK: somebody begins.
    pub const OPEN: Self = Self(0);
    /// Anything that neither begins nor ends: all of UDP, too.
    pub const DATA: Self = Self(1);
    /// A TCP FIN.
    pub const FINISH: Self = Self(2);
    /// A TCP RST.
    pub const RESET: Self = Self(3);

    /// Of the flags in the lower half of a TCP header's 14th byte.
    const fn of_flags(flags: u8) -> Self {
        const FIN: u8 = 1;
        const SYN: u8 = 2;
        const RST: u8 = 4;
        const ACK: u8 = 16;
        if flags & RST != 0 {
            Self::RESET
        } else if flags & (SYN | ACK) == SYN {
            Self::OPEN
        } else if flags & FIN != 0 {
            Self::FINISH
        } else {
            Self::DATA
        }
    }

    /// As a number.
    #[inline(always)]
    pub const fn code(self) -> u32 {
        self.0 as u32
    }

    /// The inverse of [`Event::code`]; of greater numbers only the last bits count.
    #[inline(always)]
    pub const fn from_code(code: u32) -> Self {
        Self(code as u8 & 3)
    }

    /// Of a TCP header.
    #[inline(always)]
    pub fn of_tcp(tcp: &TcpHdr) -> Self {
        // All flags at once: the bits are six in a row from FIN on.
        let flags = tcp.fin() | tcp.syn() << 1 | tcp.rst() << 2 | tcp.ack() << 4;
        EVENTS.get(usize::from(flags) & (EVENTS.len() - 1)).copied().unwrap_or(Self::DATA)
    }
}

/// [`Event::of_flags`], [`advance`] and [`concerns_twin`] as tables: a table has no branch that the verifier
/// would follow, and that a CPU would mispredict.
#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which would refuse to go outside")]
static EVENTS: [Event; 32] = {
    let mut table = [Event::DATA; 32];
    let mut flags = 0;
    while flags < table.len() {
        table[flags] = Event::of_flags(flags as u8);
        flags += 1;
    }
    table
};

/// The codes of both states after, from [`place`] of those before.
#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which would refuse to go outside")]
static STEPS: [u8; 512] = {
    let mut table = [0; 512];
    let mut place = 0;
    while place < table.len() {
        let event = Event((place >> 7) as u8);
        let (own, twin) = (State::from_bits((place >> 3) as u8), State::from_bits(place as u8));
        let (own, twin) = advance(own, twin, place >> 6 & 1 == 1, event);
        table[place] = (own as u8) << 3 | twin as u8;
        place += 1;
    }
    table
};

const fn place(own: u8, twin: u8, reply: bool, event: Event) -> usize {
    (event.0 as usize & 3) << 7 | (reply as usize) << 6 | (own as usize & 7) << 3 | twin as usize & 7
}

/// `advance` on the codes of the states.
#[inline(always)]
pub fn step(own: u8, twin: u8, reply: bool, event: Event) -> (u8, u8) {
    let after = STEPS.get(place(own, twin, reply, event)).copied().unwrap_or(own << 3 | twin);
    (after >> 3, after & 7)
}

/// `concerns_twin` on the code of the state.
#[inline(always)]
pub const fn looks_at_twin(own: u8, reply: bool, event: Event) -> bool {
    const TABLE: u64 = {
        let mut table = 0;
        let mut place = 0_u8;
        while place < 64 {
            let (own, event) = (State::from_bits(place), Event(place >> 4));
            if concerns_twin(own, place >> 3 & 1 == 1, event) {
                table |= 1 << place;
            }
            place += 1;
        }
        table
    };
    TABLE >> ((event.0 as u32 & 3) << 4 | (reply as u32) << 3 | own as u32 & 7) & 1 == 1
}

/// Can this packet change anything that needs a look at the other half? The first answer can't, but leaves the client's
/// half due, so that the client's next packet looks. Until then none does: datagrams that nobody answers cost no more.
#[inline(always)]
const fn concerns_twin(own: State, reply: bool, event: Event) -> bool {
    match event {
        Event::RESET | Event::FINISH => !matches!(own, State::Closing),
        Event::DATA => reply && matches!(own, State::Opening),
        _ => false,
    }
}

/// The states of both halves after a packet that took this one.
///
/// A flow is established once an answer was seen and the client spoke again after it, so a flood of SYNs, or
/// of SYNs and bare ACKs that no server answers, never makes an established entry.
#[inline(always)]
const fn advance(own: State, twin: State, reply: bool, event: Event) -> (State, State) {
    match (event, reply) {
        (Event::RESET, _) => (State::Closing, State::Closing),
        (Event::FINISH, _) => match (own, twin) {
            (_, State::Finished | State::Closing) => (State::Closing, State::Closing),
            (State::Closing, _) => (own, twin),
            (_, _) => (State::Finished, twin),
        },
        (Event::DATA, false) => match (own, twin) {
            (State::Opening, State::Replied) => (State::Established, State::Established),
            (State::Opening, State::Established | State::Finished) => (State::Established, twin),
            (_, _) => (own, twin),
        },
        (Event::DATA | Event::OPEN, true) => match own {
            State::Opening => (State::Replied, twin),
            State::Empty
            | State::Busy
            | State::Replied
            | State::Established
            | State::Finished
            | State::Closing => (own, twin),
        },
        (_, _) => (own, twin),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs (reply?, event) pairs through both halves within one tick and gives their states: forward, reply.
    fn run(events: &[(bool, Event)]) -> (State, State) {
        let (mut forward, mut reply) = (State::Opening as u8, State::Opening as u8);
        let mut due = false;
        for &(is_reply, event) in events {
            let (own, twin) = if is_reply { (&mut reply, &mut forward) } else { (&mut forward, &mut reply) };
            // As `flow::keep` has it.
            if looks_at_twin(*own, is_reply, event) || due && !is_reply {
                (*own, *twin) = step(*own, *twin, is_reply, event);
                due = is_reply;
            } else {
                *own = step(*own, *own, is_reply, event).0;
            }
        }
        (State::from_bits(forward), State::from_bits(reply))
    }

    const SYN: (bool, Event) = (false, Event::OPEN);
    const ACK: (bool, Event) = (false, Event::DATA);
    const ANSWER: (bool, Event) = (true, Event::DATA);

    #[test]
    fn a_handshake_establishes_both_halves() {
        assert_eq!(run(&[SYN, ANSWER]), (State::Opening, State::Replied));
        assert_eq!(run(&[SYN, ANSWER, ACK]), (State::Established, State::Established));
    }

    #[test]
    fn syns_and_acks_without_an_answer_establish_nothing() {
        assert_eq!(run(&[SYN, ACK, ACK, SYN, ACK]), (State::Opening, State::Opening));
    }

    #[test]
    fn only_the_first_packet_after_an_answer_looks_at_the_other_half() {
        assert!(!looks_at_twin(State::Opening as u8, false, Event::DATA));
        assert!(looks_at_twin(State::Opening as u8, true, Event::DATA));
        for state in [State::Replied, State::Established] {
            assert!(!looks_at_twin(state as u8, true, Event::DATA));
        }
    }

    #[test]
    fn a_fin_each_way_closes() {
        let half = [SYN, ANSWER, ACK, (false, Event::FINISH), ANSWER];
        assert_eq!(run(&half), (State::Finished, State::Established));
        let whole = [&half[..], &[(true, Event::FINISH), ACK]].concat();
        assert_eq!(run(&whole), (State::Closing, State::Closing));
    }

    #[test]
    fn a_reset_either_way_closes() {
        assert_eq!(run(&[SYN, (true, Event::RESET)]), (State::Closing, State::Closing));
        assert_eq!(run(&[SYN, ANSWER, ACK, (false, Event::RESET)]), (State::Closing, State::Closing));
    }

    #[test]
    fn a_closing_flow_stays_closing() {
        let closed = [SYN, (true, Event::RESET)];
        for event in [Event::OPEN, Event::DATA, Event::FINISH, Event::RESET] {
            for reply in [false, true] {
                let events = [&closed[..], &[(reply, event)]].concat();
                assert_eq!(run(&events), (State::Closing, State::Closing));
            }
        }
    }
}

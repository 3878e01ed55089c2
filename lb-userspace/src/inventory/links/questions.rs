//! Many questions at once: a batch of them is one system call, and the kernel has answered when that returns.

use std::io;

use netlink_packet_route::RouteNetlinkMessage;
use rtnetlink::packet_core::{DecodeError, NLM_F_REQUEST, NetlinkBuffer, NetlinkMessage, NetlinkPayload};
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{AsyncSocket as _, AsyncSocketExt as _, SocketAddr, TokioSocket};

/// A message, a refusal, or something that nobody here can read.
pub(super) type Answer = Result<NetlinkPayload<RouteNetlinkMessage>, DecodeError>;

/// Questions of one batch. The kernel drops answers that a socket has no room for; any has room for so many, of whatever
/// size.
const BATCH: usize = 16;
/// Bytes for an answer: the kernel makes none longer to a question about one thing.
const LONGEST: usize = 8192;

/// A socket for questions that have one answer each.
pub(super) struct Questions {
    socket: TokioSocket,
    /// Of the last one. What is left of a batch that was given up answers none of a later one.
    number: u32,
}

impl Questions {
    /// Opens it in this thread's network namespace.
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
        socket.socket_mut().bind_auto()?;
        Ok(Self { socket, number: 0 })
    }

    /// Asks all of them. Gives the answers in their order.
    pub(super) async fn ask(&mut self, questions: Vec<RouteNetlinkMessage>) -> io::Result<Vec<Answer>> {
        let mut questions = questions.into_iter();
        let mut answers = Vec::new();
        loop {
            let batch: Vec<_> = questions.by_ref().take(BATCH).collect();
            if batch.is_empty() {
                return Ok(answers);
            }
            self.ask_batch(batch, &mut answers).await?;
        }
    }

    /// The kernel answers in the order in which it is asked.
    async fn ask_batch(
        &mut self,
        batch: Vec<RouteNetlinkMessage>,
        answers: &mut Vec<Answer>,
    ) -> io::Result<()> {
        let mut asked = Vec::new();
        let first = self.number.wrapping_add(1);
        for question in batch {
            self.number = self.number.wrapping_add(1);
            append(&mut asked, question, self.number);
        }
        self.socket.send_to(&asked, &SocketAddr::new(0, 0)).await?;
        let mut next = first;
        let mut received = Vec::with_capacity(LONGEST);
        while next != self.number.wrapping_add(1) {
            received.clear();
            self.socket.recv(&mut received).await?;
            let header = NetlinkBuffer::new_checked(&received).map_err(io::Error::other)?;
            if header.sequence_number() == next {
                answers.push(NetlinkMessage::deserialize(&received).map(|message| message.payload));
                next = next.wrapping_add(1);
            }
        }
        Ok(())
    }
}

fn append(asked: &mut Vec<u8>, question: RouteNetlinkMessage, number: u32) {
    let mut message = NetlinkMessage::from(question);
    message.header.flags = NLM_F_REQUEST;
    message.header.sequence_number = number;
    message.finalize();
    // Lengths are multiples of four, at which the next one begins.
    let place = asked.len();
    asked.resize(place + message.buffer_len(), 0);
    if let Some(place) = asked.get_mut(place..) {
        message.serialize(place);
    }
}

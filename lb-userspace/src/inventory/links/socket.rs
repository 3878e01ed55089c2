//! The door to rtnetlink: sockets for requests, and one for notifications.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::pin::Pin;

use futures_util::{Stream, StreamExt, TryStreamExt};
use litemap::LiteMap;
use netlink_packet_route::link::LinkMessage;
use netlink_packet_route::neighbour::{NeighbourFlags, NeighbourState};
use netlink_packet_route::route::{RouteAttribute, RouteMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::packet_core::NetlinkPayload;
use rtnetlink::{Handle, MulticastGroup, new_connection, new_multicast_connection};
use tokio::task::JoinHandle;

use super::model::{Addresses, Path, Topology};
use super::questions::Questions;
use super::state;

/// Why the network can't be watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchLinks {
    /// No socket.
    #[error("open a netlink socket: {0}")]
    Open(std::io::Error),
    /// The kernel refused a question.
    #[error("ask the kernel for {subject}: {source}")]
    Ask {
        /// What was asked for.
        subject: &'static str,
        /// The kernel's answer.
        source: rtnetlink::Error,
    },
    /// The kernel did not answer.
    #[error("ask the kernel for paths: {0}")]
    Paths(std::io::Error),
    /// The notifications ended.
    #[error("the kernel's notifications about the network ended")]
    Closed,
}

/// A notification.
pub(super) enum Event {
    /// Something changed.
    Message(Box<RouteNetlinkMessage>),
    /// Some were lost: everything has to be asked for again.
    Lost,
}

/// The socket for notifications.
pub(super) struct Events {
    messages: Pin<Box<dyn Stream<Item = Event> + Send>>,
    task: JoinHandle<()>,
}

impl Drop for Events {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Events {
    /// Opens it in this thread's network namespace.
    pub(super) fn open() -> Result<Self, WatchLinks> {
        let groups = [
            MulticastGroup::Link,
            MulticastGroup::Neigh,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv4Route,
            MulticastGroup::Ipv6Ifaddr,
            MulticastGroup::Ipv6Route,
        ];
        let (connection, _, messages) = new_multicast_connection(&groups).map_err(WatchLinks::Open)?;
        let events = messages.filter_map(|(message, _)| async move {
            if let NetlinkPayload::InnerMessage(inner) = message.payload {
                return Some(Event::Message(Box::new(inner)));
            }
            matches!(message.payload, NetlinkPayload::Overrun(_)).then_some(Event::Lost)
        });
        Ok(Self { messages: Box::pin(events), task: tokio::spawn(connection) })
    }

    /// The next notification.
    pub(super) async fn next(&mut self) -> Result<Event, WatchLinks> {
        self.messages.next().await.ok_or(WatchLinks::Closed)
    }
}

/// The sockets for requests.
pub(super) struct Socket {
    handle: Handle,
    questions: Questions,
    task: JoinHandle<()>,
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Socket {
    /// Opens them in this thread's network namespace.
    pub(super) fn open() -> Result<Self, WatchLinks> {
        let questions = Questions::open().map_err(WatchLinks::Open)?;
        let (connection, handle, _) = new_connection().map_err(WatchLinks::Open)?;
        Ok(Self { handle, questions, task: tokio::spawn(connection) })
    }

    /// Everything but paths.
    pub(super) async fn dump(&self) -> Result<Topology, WatchLinks> {
        let mut topology = Topology::default();
        let links: Vec<LinkMessage> =
            self.handle.link().get().execute().try_collect().await.map_err(ask("links"))?;
        for link in links {
            state::apply(&mut topology, &RouteNetlinkMessage::NewLink(link));
        }
        for family in [AddressFamily::Unspec, AddressFamily::Bridge] {
            let request = self.handle.neighbours().get().set_address_family(family);
            let neighbours: Vec<_> = request.execute().try_collect().await.map_err(ask("neighbours"))?;
            for neighbour in neighbours {
                state::apply(&mut topology, &RouteNetlinkMessage::NewNeighbour(neighbour));
            }
        }
        topology.default_routes = self.default_routes().await?;
        Ok(topology)
    }

    /// The interfaces of the default routes of both families.
    pub(super) async fn default_routes(&self) -> Result<BTreeSet<u32>, WatchLinks> {
        let mut interfaces = BTreeSet::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut message = RouteMessage::default();
            message.header.address_family = family;
            let mut routes = self.handle.route().get(message).execute();
            while let Some(route) = routes.try_next().await.map_err(ask("routes"))? {
                interfaces.extend(state::default_route(&route));
            }
        }
        Ok(interfaces)
    }

    /// The path to each of the addresses that has one.
    pub(super) async fn paths(&mut self, addresses: &Addresses) -> Result<LiteMap<IpAddr, Path>, WatchLinks> {
        let questions = addresses.keys().copied().map(route_to).collect();
        let answers = self.questions.ask(questions).await.map_err(WatchLinks::Paths)?;
        let mut paths = LiteMap::new();
        for (&address, answer) in addresses.keys().zip(answers) {
            match answer {
                Ok(NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(route))) => {
                    paths.extend(state::path(&route).map(|path| (address, path)));
                }
                // No route is an answer.
                Ok(NetlinkPayload::Error(refusal)) => tracing::debug!(%address, %refusal, "no path"),
                unknown => tracing::debug!(%address, ?unknown, "no path"),
            }
        }
        Ok(paths)
    }

    /// Uses a neighbour as a sender would: the kernel resolves it, or confirms an entry that has grown old.
    pub(super) async fn use_neighbour(&self, ifindex: u32, address: IpAddr) {
        let request = self.handle.neighbours().add(ifindex, address);
        let request = request.state(NeighbourState::None).flags(NeighbourFlags::Use).replace();
        // An interface without neighbours, or one that has just gone: the next topology says so.
        if let Err(error) = request.execute().await {
            tracing::debug!(ifindex, %address, %error, "neighbour not used");
        }
    }
}

fn route_to(address: IpAddr) -> RouteNetlinkMessage {
    let mut message = RouteMessage::default();
    (message.header.address_family, message.header.destination_prefix_length) = match address {
        IpAddr::V4(_) => (AddressFamily::Inet, 32),
        IpAddr::V6(_) => (AddressFamily::Inet6, 128),
    };
    message.attributes.push(RouteAttribute::Destination(address.into()));
    RouteNetlinkMessage::GetRoute(message)
}

fn ask(subject: &'static str) -> impl Fn(rtnetlink::Error) -> WatchLinks {
    move |source| WatchLinks::Ask { subject, source }
}

//! Connections from one port of a client: to the servers they may look alike, to the client never.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use lb_tests::lab::server::echo;
use lb_tests::lab::wait;
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, SockaddrIn, sockopt};
use nix::sys::time::{TimeVal, TimeValLike as _};

use crate::fixture::{Fixture, SOON};

/// Once in each topology.
mod connections_from_one_port_keep_their_own_translations {
    use crate::fixture::everywhere;

    everywhere!(@lab one_port bridge_tc, BRIDGE_TC, Bridge, Tc);
    everywhere!(@lab one_port router_xdp, ROUTER_XDP, Router, Xdp);
    everywhere!(@lab one_port stick_xdp, STICK_XDP, Stick, Xdp);
}

/// The listener of another VIP in front of the echo servers' port.
const SECOND: u16 = 7007;
/// Of the client, outside of where it takes ports by itself.
const PORTS: std::ops::Range<u16> = 20_000..20_006;

fn one_port(fixture: &mut Fixture) {
    let second = fixture.lab.create_lb("second", &["--listener", "echo:7007:7/tcp"]).unwrap();
    let (first, vms) = (fixture.vip, &fixture.lab.vms);
    let (conflicts, mut refused) = (fixture.reason("flow_conflict"), 0);
    let story = || -> io::Result<()> {
        for port in PORTS {
            // Two listeners in front of one server port, and a server itself.
            let mut all = vec![Dialled::open(port, SocketAddrV4::new(first, echo::PORT))?];
            match Dialled::open(port, SocketAddrV4::new(second, SECOND)) {
                Ok(other) => all.push(other),
                Err(_) => refused += 1,
            }
            let free = vms.iter().find(|vm| all.iter().all(|dialled| dialled.vm != vm.name));
            let free = free.expect("two of three VMs are taken at most");
            all.push(Dialled::open(port, SocketAddrV4::new(free.address, echo::PORT))?);
            for word in [b"one", b"two", b"six"] {
                all.iter_mut().try_for_each(|dialled| dialled.echo(word))?;
            }
        }
        Ok(())
    };
    fixture.lab.client().enter(story).unwrap().unwrap();
    // To a server that has such a connection there is no second one: who finds no other server hears of nothing.
    let conflicts = fixture.reason("flow_conflict") - conflicts;
    assert!(refused <= conflicts && refused < PORTS.len() as u64, "{refused} refused, {conflicts} by name");
    fixture.delete_lb("second");
}

/// Once in each topology.
mod a_port_may_be_used_again_at_once {
    use crate::fixture::everywhere;

    everywhere!(@lab again bridge_tc, BRIDGE_TC, Bridge, Tc);
    everywhere!(@lab again router_xdp, ROUTER_XDP, Router, Xdp);
    everywhere!(@lab again stick_xdp, STICK_XDP, Stick, Xdp);
}

fn again(fixture: &mut Fixture) {
    let web = SocketAddrV4::new(fixture.vip, 80);
    let story = || -> io::Result<()> {
        for _ in 0..10 {
            // The server ends it and waits; the client is free to dial as soon as its last word has been heard.
            let free = wait::until_some("the port is free", SOON, || match dial(PORTS.end, web) {
                Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => None,
                dialled => Some(dialled),
            });
            let mut stream = free.unwrap()?;
            stream.write_all(b"GET / HTTP/1.1\r\nHost: front\r\nConnection: close\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer:?}");
        }
        Ok(())
    };
    fixture.lab.client().enter(story).unwrap().unwrap();
}

/// A connection to an echo server.
struct Dialled {
    stream: TcpStream,
    vm: String,
}

impl Dialled {
    fn open(port: u16, server: SocketAddrV4) -> io::Result<Self> {
        let stream = dial(port, server)?;
        let mut greeting = String::new();
        BufReader::with_capacity(64, &stream).read_line(&mut greeting)?;
        Ok(Self { stream, vm: greeting.trim().to_owned() })
    }

    fn echo(&mut self, word: &[u8; 3]) -> io::Result<()> {
        self.stream.write_all(word)?;
        let mut back = [0; 3];
        self.stream.read_exact(&mut back)?;
        assert_eq!(back, *word, "from {}", self.vm);
        Ok(())
    }
}

/// Connects from this port, which other connections may have as well.
fn dial(port: u16, server: SocketAddrV4) -> io::Result<TcpStream> {
    const PATIENCE: Duration = Duration::from_secs(5);
    let socket = socket::socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    socket::setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    socket::setsockopt(&socket, sockopt::ReusePort, &true)?;
    // Connecting is sending.
    socket::setsockopt(&socket, sockopt::SendTimeout, &TimeVal::seconds(PATIENCE.as_secs() as i64))?;
    socket::bind(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port)))?;
    socket::connect(socket.as_raw_fd(), &SockaddrIn::from(server))?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

//! Dials an echo server as ordinary programs do, and prints what its socket says. For tests that must be processes
//! of their own.
//!
//! `dial tcp|udp|udp-connected ADDRESS:PORT COUNT` prints a line a dialling:
//! `PEER SENDER NAME`, each `-` where there is none, or `error: KIND`.

use std::env;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::process::ExitCode;
use std::time::Duration;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let parsed = match &arguments[..] {
        [how, server, count] => server.parse().ok().zip(count.parse::<u32>().ok()).map(|both| (how, both)),
        _ => None,
    };
    let Some((how, (server, count))) = parsed else {
        eprintln!("usage: dial tcp|udp|udp-connected ADDRESS:PORT COUNT");
        return ExitCode::FAILURE;
    };
    let dial = match how.as_str() {
        "tcp" => tcp,
        "udp" => udp,
        _ => udp_connected,
    };
    for _ in 0..count {
        match dial(server) {
            Ok(line) => println!("{line}"),
            Err(error) => println!("error: {:?}", error.kind()),
        }
    }
    ExitCode::SUCCESS
}

fn tcp(server: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut name = String::new();
    BufReader::with_capacity(64, &stream).read_line(&mut name)?;
    stream.write_all(b"over")?;
    Ok(format!("{} - {}", stream.peer_addr()?, name.trim()))
}

/// One socket, two datagrams: both must be answered.
fn udp(server: SocketAddr) -> io::Result<String> {
    let socket = bind(server)?;
    let mut sender = None;
    for word in [b"one", b"two"] {
        socket.send_to(word, server)?;
        let mut buffer = [0; 16];
        let (length, from) = socket.recv_from(&mut buffer)?;
        assert_eq!(&buffer[..length], word);
        assert!(sender.is_none_or(|before| before == from), "{sender:?}, then {from}");
        sender = Some(from);
    }
    Ok(format!("- {} -", sender.map(|sender| sender.to_string()).unwrap_or_default()))
}

fn udp_connected(server: SocketAddr) -> io::Result<String> {
    let socket = bind(server)?;
    socket.connect(server)?;
    socket.send(b"one")?;
    let (_, sender) = socket.recv_from(&mut [0; 16])?;
    Ok(format!("{} {sender} -", socket.peer_addr()?))
}

fn bind(server: SocketAddr) -> io::Result<UdpSocket> {
    let any = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

//! Why a kernel refuses XDP on an interface: the error number is all that it says, and what it means is known of the
//! drivers.

use aya::programs::{ProgramError, loaded_programs};

use super::error::KernelError;
use super::links::Place;
use crate::datapath::port::Port;

/// The dispatcher by which libxdp runs several programs on one interface.
const DISPATCHER: &str = "xdp_dispatcher";

/// Tells somebody else's program from other refusals, and says what to do about either.
pub(super) fn explain(error: KernelError, port: &Port, place: Place) -> KernelError {
    let KernelError::Attach { source: ProgramError::SyscallError(call), .. } = &error else {
        return error;
    };
    if !matches!(place, Place::Xdp | Place::XdpGeneric) {
        return error;
    }
    let number = call.io_error.raw_os_error().unwrap_or_default();
    if matches!(number, libc::EBUSY | libc::EEXIST) {
        return foreign(port);
    }
    let interface = port.name.clone();
    match remedy(number, place == Place::Xdp, port) {
        Some(remedy) => KernelError::XdpRefused { interface, refusal: call.io_error.to_string(), remedy },
        None => error,
    }
}

fn foreign(port: &Port) -> KernelError {
    let name = |id: u32| {
        let known = loaded_programs().filter_map(Result::ok).find(|program| program.id() == id);
        known.and_then(|program| program.name_as_str().map(str::to_owned)).unwrap_or_default()
    };
    let interface = port.name.clone();
    let name = port.xdp_program.map(name);
    let remedy = removal(&interface, name.as_deref().unwrap_or_default());
    let owner = port
        .xdp_program
        .zip(name)
        .map_or_else(|| "whose name is not known".to_owned(), |(id, name)| format!("{name:?} with id {id}"));
    KernelError::ForeignXdp { interface, owner, remedy }
}

/// The command that removes somebody else's program.
fn removal(interface: &str, program: &str) -> String {
    if program == DISPATCHER {
        format!(
            "it runs the programs of libxdp, which `xdp-loader status {interface}` lists and `xdp-loader unload {interface} --all` removes"
        )
    } else {
        format!("detach it (`ip link set dev {interface} xdp off`)")
    }
}

/// What a driver's error number means, and what to do.
fn remedy(number: i32, native: bool, port: &Port) -> Option<String> {
    let (name, mtu) = (&port.name, port.mtu);
    let text = match number {
        libc::EOPNOTSUPP if native => format!(
            "its driver has no native XDP, or not while it merges segments: try `ethtool -K {name} lro off`"
        ),
        libc::ENOSPC => format!(
            "it has fewer receive queues than its peer or the CPUs transmit through: raise them (`ethtool -L {name} rx N`)"
        ),
        libc::ENOMEM => format!(
            "the device has too few queues or too little memory: two queues a CPU are wanted, or fewer in use (`ethtool -L {name} combined N`)"
        ),
        libc::ERANGE | libc::EMSGSIZE => format!(
            "its MTU of {mtu} is too large for its driver's XDP: lower it (`ip link set dev {name} mtu 1500`)"
        ),
        libc::EINVAL if native => format!(
            "most drivers say so of an MTU that is too large for their XDP, which is {mtu} here, of LRO (`ethtool -K {name} lro off`), or of too many queues (`ethtool -l {name}`)"
        ),
        _ => return None,
    };
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::datapath::model::Mac;
    use crate::datapath::port::Role;

    fn port() -> Port {
        Port {
            ifindex: 3,
            name: "eth0".to_owned(),
            role: Role::Uplink,
            hook: config::Hook::Xdp,
            is_virtual: false,
            without_native_xdp: None,
            partial_checksums: false,
            bridge: 0,
            mac: Mac([2, 0, 0, 0, 0, 1]),
            mtu: 9000,
            xdp_program: None,
        }
    }

    #[test]
    fn a_drivers_error_numbers_have_remedies_that_name_the_interface() {
        let cases = [
            (libc::EOPNOTSUPP, "ethtool -K eth0 lro off"),
            (libc::ENOSPC, "ethtool -L eth0 rx"),
            (libc::ENOMEM, "ethtool -L eth0 combined"),
            (libc::ERANGE, "ip link set dev eth0 mtu 1500"),
            (libc::EINVAL, "which is 9000 here"),
        ];
        for (number, expected) in cases {
            let text = remedy(number, true, &port()).unwrap();
            assert!(text.contains(expected), "{number}: {text}");
        }
        assert_eq!(remedy(libc::EPERM, true, &port()), None);
        assert_eq!(remedy(libc::EOPNOTSUPP, false, &port()), None, "generic XDP needs no driver");
    }

    #[test]
    fn a_dispatcher_is_removed_by_its_own_tool() {
        assert!(removal("eth0", DISPATCHER).contains("xdp-loader unload eth0 --all"));
        assert!(removal("eth0", "filter").contains("ip link set dev eth0 xdp off"));
    }
}

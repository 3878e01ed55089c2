//! Beside others: their XDP programs stay where they are, and drivers that refuse ours are understood.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use aya_obj::generated::{bpf_attr, bpf_cmd, bpf_prog_type};

use super::super::raw;
use super::hooks::{ip, port, ports, program_of, veth};
use super::{Directory, in_namespace};
use crate::config;
use crate::datapath::Datapath as _;
use crate::datapath::port::{Hook, Role};

/// Loads the smallest XDP program, which passes everything, and attaches it as other loaders do: by netlink, from a
/// pin, not by a link.
fn attach_foreign(name: &str, mode: &str, interface: &str, directory: &Directory) {
    // r0 = XDP_PASS; exit
    const CODE: [u8; 16] = [0xb7, 0, 0, 0, 2, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];
    let license = CString::new("GPL").unwrap();
    // SAFETY: all of the union is plain integers.
    let mut attributes: bpf_attr = unsafe { std::mem::zeroed() };
    // SAFETY: the whole union was zeroed, so each of its members may be borrowed.
    let program = unsafe { &mut attributes.__bindgen_anon_3 };
    program.prog_type = bpf_prog_type::BPF_PROG_TYPE_XDP as u32;
    program.insn_cnt = 2;
    program.insns = CODE.as_ptr() as u64;
    program.license = license.as_ptr() as u64;
    for (to, from) in program.prog_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    // SAFETY: code and license outlive the call.
    let descriptor = unsafe { raw::call(bpf_cmd::BPF_PROG_LOAD, &mut attributes) }.unwrap();

    let path = PathBuf::from(format!("{}-{name}", directory.0.display()));
    let pin = CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: as above.
    let mut attributes: bpf_attr = unsafe { std::mem::zeroed() };
    // SAFETY: as above.
    let object = unsafe { &mut attributes.__bindgen_anon_4 };
    object.pathname = pin.as_ptr() as u64;
    object.bpf_fd = descriptor.cast_unsigned();
    // SAFETY: the path outlives the call.
    unsafe { raw::call(bpf_cmd::BPF_OBJ_PIN, &mut attributes) }.unwrap();
    ip(&format!("link set dev {interface} {mode} pinned {}", path.display()));
    std::fs::remove_file(&path).unwrap();
    nix::unistd::close(descriptor).unwrap();
}

#[test]
fn programs_of_others_are_never_replaced_however_they_were_attached() {
    in_namespace(|directory| {
        for (name, mode, remedy) in [
            ("filter", "xdpdrv", "ip link set dev up0 xdp off"),
            ("filter", "xdpgeneric", "ip link set dev up0 xdp off"),
            ("xdp_dispatcher", "xdpdrv", "xdp-loader unload up0 --all"),
        ] {
            let ifindex = veth("up0");
            attach_foreign(name, mode, "up0", &directory);
            let id = program_of("up0");
            let mut wanted = port(ifindex, "up0", Role::Uplink, config::Hook::Xdp);
            wanted.is_virtual = false;
            wanted.xdp_program = id;
            let mut kernel = directory.open().unwrap();
            for hook in [config::Hook::Xdp, config::Hook::XdpGeneric] {
                wanted.hook = hook;
                let served = kernel.serve(&ports(&[wanted.clone()])).unwrap();
                let reason = &served.refused[0].reason;
                let owner = format!("{name:?} with id {}", id.unwrap());
                assert!(reason.contains(&owner) && reason.contains(remedy), "{mode}, {hook:?}: {reason}");
                assert_eq!(program_of("up0"), id);
            }
            wanted.hook = config::Hook::Auto;
            let served = kernel.serve(&ports(&[wanted])).unwrap();
            let attached = &served.attached[&ifindex];
            assert_eq!(attached.hook, Hook::Tc);
            assert!(attached.reason.contains(name) && attached.reason.ends_with("by tcx"), "{served:?}");
            assert_eq!(program_of("up0"), id);
            kernel.serve(&ports(&[])).unwrap();
            assert_eq!(program_of("up0"), id, "what is not ours is not detached either");
            ip("link del up0");
        }
    });
}

#[test]
fn too_few_queues_are_named_with_the_remedy_and_auto_takes_another_hook() {
    in_namespace(|directory| {
        ip("link add up0 numrxqueues 1 numtxqueues 1 type veth peer name up0p numtxqueues 4 numrxqueues 4");
        ip("link set up0 up");
        ip("link set up0p up");
        let ifindex = nix::net::if_::if_nametoindex("up0").unwrap();
        let mut wanted = port(ifindex, "up0", Role::Uplink, config::Hook::Xdp);
        wanted.is_virtual = false;
        let mut kernel = directory.open().unwrap();
        let served = kernel.serve(&ports(&[wanted.clone()])).unwrap();
        let reason = &served.refused[0].reason;
        assert!(reason.contains("ethtool -L up0 rx") && reason.contains("hooks: {up0: tc}"), "{reason}");
        wanted.hook = config::Hook::Auto;
        let served = kernel.serve(&ports(&[wanted])).unwrap();
        let attached = &served.attached[&ifindex];
        assert_eq!(attached.hook, Hook::XdpGeneric);
        assert!(attached.reason.contains("fewer receive queues"), "{attached:?}");
    });
}

#[test]
fn interfaces_without_native_xdp_take_tc_and_refuse_to_be_told_otherwise() {
    in_namespace(|directory| {
        ip("link add br0 type bridge");
        ip("link set br0 up");
        let ifindex = nix::net::if_::if_nametoindex("br0").unwrap();
        let mut wanted = port(ifindex, "br0", Role::Routed, config::Hook::Xdp);
        wanted.without_native_xdp = Some("a bridge");
        let mut kernel = directory.open().unwrap();
        let served = kernel.serve(&ports(&[wanted.clone()])).unwrap();
        let expected = "interface br0 has no native XDP: a bridge; set hooks: {br0: tc}";
        assert_eq!(served.refused[0].reason, expected);
        wanted.hook = config::Hook::Auto;
        let served = kernel.serve(&ports(&[wanted])).unwrap();
        assert_eq!(
            (served.attached[&ifindex].hook, &*served.attached[&ifindex].reason),
            (Hook::Tc, "a bridge; by tcx")
        );
    });
}

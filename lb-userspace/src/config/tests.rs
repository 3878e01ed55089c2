use std::path::Path;

use super::*;

fn parsed(text: &str) -> Result<Config, LoadConfig> {
    parse(text, Path::new("lb.yaml"), || Ok("host-1".into()))
}

fn message(text: &str) -> String {
    parsed(text).unwrap_err().to_string()
}

#[test]
fn an_empty_file_gives_the_defaults() {
    let config = parsed("").unwrap();
    assert_eq!(config.node, "host-1");
    assert_eq!(config.socket, Path::new("/run/lb/lb.sock"));
    assert_eq!(config.interfaces, Interfaces::default());
    assert_eq!(config.datapath.flow_entries, 262_144);
    assert_eq!(config.maglev_slots, 16_381);
    assert_eq!(parsed("# only a comment\n").unwrap(), config);
}

#[test]
fn every_field_is_read() {
    let config = parsed(
        r#"
node: node-1
stateDirectory: /tmp/state
socket: /tmp/lb.sock
pinDirectory: /sys/fs/bpf/other
interfaces:
  uplinks: [eth0]
  routed: [in0]
  vmPorts: ["vnet*", "tap*"]
  hook: xdp
  hooks: {eth0: tc}
inventory:
  file: /etc/lb/vms.yaml
  holdDown: 1m
datapath:
  flowEntries: 1024
  maxListeners: 16
  maxBackends: 64
  newFlowsPerSecond: 5000
  timeouts: {tcpOpening: 5s, tcpEstablished: 1h, tcpClosing: 2s, udpOpening: 3s, udpEstablished: 4m}
maglevSlots: 251
"#,
    )
    .unwrap();
    assert_eq!(config.interfaces.hook_of("eth0"), Hook::Tc);
    assert_eq!(config.interfaces.hook_of("in0"), Hook::Xdp);
    assert!(config.interfaces.vm_ports[1].matches("tap3"));
    assert_eq!(config.datapath.timeouts.udp_established, Duration::from_mins(4));
    assert_eq!((config.datapath.max_listeners, config.datapath.max_backends), (16, 64));
    assert_eq!(config.datapath.new_flows_per_second, 5000);
    assert_eq!(config.inventory.file.as_deref(), Some(Path::new("/etc/lb/vms.yaml")));
    assert_eq!(config.inventory.hold_down, Duration::from_mins(1));
}

#[test]
fn lease_files_tell_of_declared_vms_alone() {
    let config =
        parsed("inventory: {file: /etc/lb/vms.yaml, leases: [/var/lib/misc/dnsmasq.leases]}").unwrap();
    assert_eq!(config.inventory.leases, [Path::new("/var/lib/misc/dnsmasq.leases")]);
    assert!(parsed("inventory: {libvirt: /run/libvirt/libvirt-sock, leases: [/a]}").is_ok());
    let message = message("inventory: {leases: [/a, b]}");
    for expected in
        ["inventory.leases[1]: \"b\" is not an absolute path", "set inventory.file or inventory.libvirt"]
    {
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn an_address_is_held_for_up_to_an_hour() {
    assert_eq!(parsed("inventory: {holdDown: 0s}").unwrap().inventory.hold_down, Duration::ZERO);
    assert_eq!(parsed("").unwrap().inventory.hold_down, Duration::from_secs(15));
    for text in ["15", "2h"] {
        let message = message(&format!("inventory: {{holdDown: {text}}}"));
        assert!(message.contains("inventory.holdDown: "), "{message}");
    }
}

#[test]
fn an_unknown_field_is_refused_with_its_place() {
    let message = message("node: a\ninterfaces:\n  uplink: [eth0]\n");
    assert!(message.contains("uplink") && message.contains("line 3"), "{message}");
}

#[test]
fn all_wrong_values_are_listed_at_once() {
    insta::assert_snapshot!(message(
        r#"
node: "a b"
stateDirectory: state
interfaces: {uplinks: [eth0, eth0, "e*"], routed: ["x/y"], hook: fast, hooks: {eth7: tc}}
datapath: {flowEntries: 1000000, maxListeners: 0, timeouts: {tcpOpening: 60, udpOpening: 3d, tcpClosing: 30h}}
maglevSlots: 1000
"#
    ));
}

#[test]
fn a_missing_file_is_named() {
    let error = load(Path::new("/nonexistent/lb.yaml")).unwrap_err().to_string();
    assert!(error.contains("/nonexistent/lb.yaml"), "{error}");
}

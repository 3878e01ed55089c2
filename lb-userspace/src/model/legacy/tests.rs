//! Cases A9 of the reference.

use serde_json::json;

use super::*;

fn config_map(namespace: &str, data: &serde_json::Value) -> ConfigMap {
    let map = json!({ "metadata": {"namespace": namespace, "name": "kubevip"}, "data": data });
    serde_json::from_value(map).unwrap()
}

fn services(namespace: &str, services: &[(&str, &str)]) -> ConfigMap {
    let list: Vec<_> = services
        .iter()
        .map(|(vip, name)| json!({"vip": vip, "serviceName": name, "port": 80, "uid": "x", "type": "TCP"}))
        .collect();
    let text = json!({ "services": list }).to_string();
    config_map(namespace, &json!({ "kubevip-services": text }))
}

fn ranges(pool: &IpPool) -> Vec<[&str; 3]> {
    pool.spec.ranges.iter().map(|r| [r.subnet.as_str(), &r.range_start, &r.range_end]).collect()
}

fn history(pool: &IpPool) -> Vec<[&str; 2]> {
    pool.status.allocated_history.iter().map(|(address, owner)| [address.as_str(), owner]).collect()
}

#[test]
fn a9_1_each_namespace_of_kube_vips_config_map_is_a_pool_with_its_history() {
    let maps = [
        config_map(
            "kube-system",
            &json!({
                "cidr-default": "192.168.10.0/24",
                "cidr-ns1": "192.168.20.0/24,192.168.30.0/24",
                "range-ns-2": "192.168.40.1-192.168.40.10,192.168.50.10-192.168.50.20",
                "config": "of kube-vip itself",
            }),
        ),
        services("default", &[("192.168.10.3", "lb1"), ("0.0.0.0", "by-dhcp")]),
        services("ns1", &[("192.168.30.7", "lb2"), ("192.0.2.1", "elsewhere")]),
        services("ns-2", &[("192.168.50.11", "lb3")]),
        services("ns-3", &[("192.168.10.4", "of-another-namespace")]),
    ];
    let pools = pools(&maps).unwrap();
    let [default, two, one] = pools.as_slice() else { panic!("{pools:?}") };
    assert_eq!(default.metadata.name, "default");
    assert_eq!(default.spec.selector.scope[0].parts(), ["*", "default", "*"]);
    assert_eq!(ranges(default), [["192.168.10.0/24", "", ""]]);
    assert_eq!(history(default), [["192.168.10.3", "default/lb1"]]);
    assert_eq!((one.metadata.name.as_str(), two.metadata.name.as_str()), ("ns1", "ns-2"));
    assert_eq!(ranges(one), [["192.168.20.0/24", "", ""], ["192.168.30.0/24", "", ""]]);
    assert_eq!(history(one), [["192.168.30.7", "ns1/lb2"]]);
    let expected = [
        ["192.168.40.0/28", "192.168.40.1", "192.168.40.10"],
        ["192.168.50.0/27", "192.168.50.10", "192.168.50.20"],
    ];
    assert_eq!(ranges(two), expected);
    assert_eq!(history(two), [["192.168.50.11", "ns-2/lb3"]]);
}

#[test]
fn a9_2_the_global_pool_is_everybodys_and_remembers_who_had_its_addresses() {
    let maps = [
        config_map(
            "kube-system",
            &json!({"cidr-default": "192.168.10.0/24", "cidr-global": "192.168.0.0/24"}),
        ),
        services("default", &[("192.168.0.162", "lb1"), ("192.168.10.73", "lb2")]),
    ];
    let pools = pools(&maps).unwrap();
    let [default, global] = pools.as_slice() else { panic!("{pools:?}") };
    assert_eq!(global.spec.selector.scope[0].parts(), ["*", "*", "*"]);
    assert_eq!(history(global), [["192.168.0.162", "default/lb1"]]);
    assert_eq!(history(default), [["192.168.10.73", "default/lb2"]]);
}

#[test]
fn a9_4_a_range_gets_the_smallest_subnet_in_which_its_ends_are_hosts() {
    for (text, expected) in [
        ("172.16.10.10-172.16.10.100", "172.16.10.0/25"),
        ("172.16.10.150-172.16.10.200", "172.16.10.128/25"),
        ("10.0.0.5-10.0.0.5", "10.0.0.4/31"),
        ("10.0.0.170-10.0.0.179", "10.0.0.160/27"),
        ("10.0.0.160-10.0.0.191", "10.0.0.128/25"),
        ("2001:db8::10-2001:db8::1f", "2001:db8::/123"),
    ] {
        assert_eq!(span(text).unwrap().subnet, expected, "{text}");
    }
}

#[test]
fn a_namespace_whose_last_service_is_gone_had_no_address() {
    let pool = config_map("kube-system", &json!({"cidr-default": "192.0.2.0/24"}));
    let gone = config_map("default", &json!({"kubevip-services": r#"{"services":null}"#}));
    assert_eq!(history(&pools(&[pool, gone]).unwrap()[0]), [[""; 2]; 0]);
}

#[test]
fn everything_that_is_not_understood_is_told_with_its_place() {
    let mut other = config_map("shop", &json!({}));
    other.metadata.name = "settings".into();
    let mut converted = config_map("kube-system", &json!({"cidr-a": "192.0.2.0/24"}));
    let annotation = "loadbalancer.harvesterhci.io/after-conversion".to_owned();
    converted.metadata.annotations.insert(annotation, "true".into());
    let broken = config_map("shop", &json!({"kubevip-services": "{"}));
    let data = json!({"cidr-a": "192.0.2.0", "range-b": "192.0.2.1-x,192.0.2.1-2001:db8::1"});
    let problems = pools(&[config_map("kube-system", &data), other, converted, broken]).unwrap_err();
    let told: Vec<_> = problems.iter().map(|p| (p.path.as_str(), p.value.as_str())).collect();
    let expected = [
        ("ConfigMap kube-system/kubevip: data.cidr-a", "\"192.0.2.0\""),
        ("ConfigMap kube-system/kubevip: data.range-b", "\"192.0.2.1-x\""),
        ("ConfigMap kube-system/kubevip: data.range-b", "\"192.0.2.1-2001:db8::1\""),
        ("ConfigMap shop/settings: metadata.name", "\"settings\""),
        ("ConfigMap kube-system/kubevip: metadata.annotations", "\"after-conversion\""),
        ("ConfigMap shop/kubevip: data.kubevip-services", "\"\""),
    ];
    assert_eq!(told, expected);
}

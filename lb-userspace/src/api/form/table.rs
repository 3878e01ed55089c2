//! Rows and columns: Harvester's, and more for `-o wide`.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::target::{Served, Source};
use super::partial;
use crate::model::age::age;

/// One column.
struct Column {
    name: &'static str,
    /// 0 is shown always, 1 if asked for with `-o wide`.
    priority: u8,
    description: &'static str,
    cell: fn(&Value, Timestamp) -> String,
}

const fn column(
    name: &'static str,
    description: &'static str,
    cell: fn(&Value, Timestamp) -> String,
) -> Column {
    Column { name, priority: 0, description, cell }
}

const fn wide(
    name: &'static str,
    description: &'static str,
    cell: fn(&Value, Timestamp) -> String,
) -> Column {
    Column { name, priority: 1, description, cell }
}

const NAME: Column = column("Name", "Unique in its namespace", |o, _| text(o, "/metadata/name", ""));
const AGE: Column = column("Age", "Time since the object was made", |o, now| {
    age(o.pointer("/metadata/creationTimestamp").and_then(Value::as_str), now)
});

const LOAD_BALANCERS: &[Column] = &[
    NAME,
    column("Description", "Free text", |o, _| text(o, "/spec/description", "")),
    column("WorkloadType", "vm or cluster", |o, _| text(o, "/spec/workloadType", "vm")),
    column("IPAM", "pool or dhcp", |o, _| text(o, "/spec/ipam", "pool")),
    column("Address", "The VIP", |o, _| text(o, "/status/address", "")),
    AGE,
    wide("Listeners", "Front port, backend port and protocol", |o, _| joined(o, "/spec/listeners", listener)),
    wide("Backends", "Ready of all", backends),
    wide("Ready", "Whether it serves", |o, _| ready(o)),
];

const IP_POOLS: &[Column] = &[
    NAME,
    column("Description", "Free text", |o, _| text(o, "/spec/description", "")),
    column("Ranges", "The addresses", |o, _| joined(o, "/spec/ranges", range)),
    column("Priority", "The larger wins", |o, _| number(o, "/spec/selector/priority").to_string()),
    AGE,
    wide("Network", "The VM network; empty is the management network", |o, _| {
        text(o, "/spec/selector/network", "")
    }),
    wide("Available", "Addresses that nobody has, of all", |o, _| {
        format!("{}/{}", number(o, "/status/available"), number(o, "/status/total"))
    }),
];

const EVENTS: &[Column] = &[
    column("Last Seen", "Time since it happened last", |o, now| {
        age(o.pointer("/lastTimestamp").and_then(Value::as_str), now)
    }),
    column("Type", "Normal or Warning", |o, _| text(o, "/type", "")),
    column("Reason", "One word", |o, _| text(o, "/reason", "")),
    column("Object", "About whom", |o, _| {
        let part = |pointer| text(o, pointer, "");
        format!("{}/{}", part("/involvedObject/kind").to_lowercase(), part("/involvedObject/name"))
    }),
    column("Message", "A sentence", |o, _| text(o, "/message", "")),
    wide("Count", "How often it happened", |o, _| number(o, "/count").to_string()),
];

const fn columns(source: Source) -> &'static [Column] {
    match source {
        Source::LoadBalancers => LOAD_BALANCERS,
        Source::IpPools => IP_POOLS,
        Source::Events => EVENTS,
    }
}

/// The objects as `Table`. `include` says what of them goes with their rows: `Metadata` if it is empty.
pub(super) fn table(
    served: &Served,
    metadata: &Value,
    objects: Vec<Value>,
    include: &str,
    now: Timestamp,
) -> Value {
    let columns = columns(served.source);
    let definition = |column: &Column| {
        let format = if column.name == "Name" { "name" } else { "" };
        json!({
            "name": column.name, "type": "string", "format": format,
            "description": column.description, "priority": column.priority,
        })
    };
    let row = |object: Value| {
        let cells: Vec<String> = columns.iter().map(|column| (column.cell)(&object, now)).collect();
        let object = match include {
            "None" => Value::Null,
            "Object" => object,
            _ => partial(object),
        };
        json!({ "cells": cells, "object": object })
    };
    json!({
        "apiVersion": "meta.k8s.io/v1",
        "kind": "Table",
        "metadata": metadata,
        "columnDefinitions": columns.iter().map(definition).collect::<Vec<_>>(),
        "rows": objects.into_iter().map(row).collect::<Vec<_>>(),
    })
}

fn text(object: &Value, pointer: &str, default: &str) -> String {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or(default).to_owned()
}

fn number(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or_default()
}

fn joined(object: &Value, pointer: &str, show: fn(&Value) -> String) -> String {
    let items = object.pointer(pointer).and_then(Value::as_array);
    items.into_iter().flatten().map(show).collect::<Vec<_>>().join(",")
}

fn listener(listener: &Value) -> String {
    let (port, protocol) = (number(listener, "/port"), text(listener, "/protocol", ""));
    match number(listener, "/endPort") {
        0 => format!("{port}:{}/{protocol}", number(listener, "/backendPort")),
        end => format!("{port}-{end}/{protocol}"),
    }
}

fn range(range: &Value) -> String {
    match (text(range, "/rangeStart", ""), text(range, "/rangeEnd", "")) {
        (start, end) if start.is_empty() && end.is_empty() => text(range, "/subnet", ""),
        (start, end) => format!("{start}-{end}"),
    }
}

fn backends(object: &Value, _: Timestamp) -> String {
    let all =
        object.pointer("/status/backends").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let ready = all.iter().filter(|backend| text(backend, "/state", "") == "Ready").count();
    format!("{ready}/{}", all.len())
}

fn ready(object: &Value) -> String {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    let ready = conditions.into_iter().flatten().find(|condition| text(condition, "/type", "") == "Ready");
    ready.map_or_else(|| "Unknown".to_owned(), |condition| text(condition, "/status", "Unknown"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::target::SERVED;

    #[test]
    fn an_event_names_the_kind_and_the_name_of_its_object() {
        let served = SERVED.iter().find(|served| served.source == Source::Events).unwrap();
        let event = |kind: &str| json!({"involvedObject": {"kind": kind, "name": "lab"}});
        let events = ["LoadBalancer", "IPPool"].map(event).into();
        let table = table(served, &json!({}), events, "", Timestamp::UNIX_EPOCH);
        let objects = ["/rows/0/cells/3", "/rows/1/cells/3"].map(|cell| table.pointer(cell).unwrap());
        assert_eq!(objects, ["loadbalancer/lab", "ippool/lab"]);
    }

    #[test]
    fn harvesters_columns_come_first_and_more_are_wide() {
        let now = "2026-01-01T01:00:00Z".parse().unwrap();
        let object = json!({
            "metadata": {"name": "front", "namespace": "shop", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"listeners": [{"port": 80, "protocol": "TCP", "backendPort": 8080}]},
            "status": {"address": "192.0.2.80", "backends": [{"state": "Ready"}, {"state": "NotReady"}]},
        });
        let table = table(&SERVED[0], &json!({}), vec![object], "", now);
        let names = |priority: i64| -> Vec<&str> {
            let columns = table["columnDefinitions"].as_array().unwrap();
            let shown = columns.iter().filter(|column| column["priority"] == priority);
            shown.map(|column| column["name"].as_str().unwrap()).collect()
        };
        assert_eq!(names(0), ["Name", "Description", "WorkloadType", "IPAM", "Address", "Age"]);
        let cells = json!(["front", "", "vm", "pool", "192.0.2.80", "60m", "80:8080/TCP", "1/2", "Unknown"]);
        assert_eq!(table["rows"][0]["cells"], cells);
        assert_eq!(table["rows"][0]["object"]["metadata"]["namespace"], "shop");
        assert_eq!(table["rows"][0]["object"].get("spec"), None);
    }
}

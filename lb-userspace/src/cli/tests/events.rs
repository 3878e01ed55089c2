//! What has become of objects, as it stands below their descriptions.

use jiff::Timestamp;

use super::*;
use crate::model::meta::ObjectMeta;

/// What stands below the description of an object.
async fn below(server: &Server, object: &str) -> String {
    let object = server.client.get(object).await.unwrap();
    let metadata: ObjectMeta = serde_json::from_value(object["metadata"].clone()).unwrap();
    tidings::table(&tidings::of(&server.client, &metadata).await.unwrap(), Timestamp::now())
}

#[tokio::test]
async fn a_description_ends_with_what_has_become_of_its_object_and_of_no_other() {
    let server = Server::with_pool("cli-events").await;
    let described = lb(&server, &["pool", "describe", "lab"]).await.unwrap();
    assert!(described.ends_with("Events:       <none>\n"), "{described}");
    let create = |name: &'static str| ["create", name, "-n", "shop", "--listener", "web:80:8080"];
    lb(&server, &create("front")).await.unwrap();
    lb(&server, &["delete", "front", "-n", "shop"]).await.unwrap();
    lb(&server, &create("front")).await.unwrap();
    lb(&server, &create("back")).await.unwrap();

    let front = "/apis/loadbalancer.harvesterhci.io/v1beta1/namespaces/shop/loadbalancers/front";
    let text = below(&server, front).await;
    let rows: Vec<&str> = text.lines().collect();
    let [_, header, row] = rows[..] else { panic!("{text}") };
    let words = |row: &str| row.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(header), ["TYPE", "REASON", "AGE", "COUNT", "MESSAGE"]);
    let (row, age) = (words(row), 2);
    assert_eq!(row[..age], ["Normal", "AddressAssigned"]);
    assert_eq!(row[age + 1..].join(" "), "1 address 192.0.2.80 of pool lab");

    let described = lb(&server, &["pool", "describe", "lab"]).await.unwrap();
    let events = described.split_once("Events:\n").unwrap().1;
    assert!(events.contains("Warning  PoolExhausted  "), "{described}");
    assert!(described.contains("  192.0.2.81  shop/back "), "{described}");
    let json = lb(&server, &["pool", "describe", "lab", "--output", "json"]).await.unwrap();
    let all: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&all["events"][0]["type"], &all["events"][0]["count"]),
        (&"Warning".into(), &1.into()),
        "{json}"
    );
    server.stop().await;
}

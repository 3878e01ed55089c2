//! Real files in a directory of their own.

use std::fs;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::timeout;

use super::model::Leases;
use super::task;

const DEADLINE: Duration = Duration::from_mins(1);

async fn until(leases: &mut watch::Receiver<Leases>, addresses: &[&str]) -> Leases {
    let is_so = |leases: &Leases| {
        leases.live.iter().map(|lease| lease.address.to_string()).eq(addresses.iter().copied())
    };
    timeout(DEADLINE, leases.wait_for(is_so)).await.expect("in time").unwrap().clone()
}

#[tokio::test]
async fn leases_of_all_files_are_told_until_they_end() {
    let directory = std::env::temp_dir().join(format!("lb-leases-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let (dnsmasq, isc) = (directory.join("dnsmasq.leases"), directory.join("dhcpd.leases"));
    let line = |ends: i64, last: u8| format!("{ends} 52:54:00:00:00:{last:02} 192.0.2.{last} * *\n");
    let (past, soon, late) = (1, Timestamp::now().as_second() + 10, Timestamp::now().as_second() + 3600);
    fs::write(&dnsmasq, line(past, 11) + &line(soon, 12) + &line(late, 13)).unwrap();
    let (published, mut leases) = watch::channel(Leases::default());
    let task = tokio::spawn(task::run(vec![dnsmasq.clone(), isc.clone()], published));
    let told = until(&mut leases, &["192.0.2.13", "192.0.2.12"]).await;
    assert!(
        told.problem.unwrap().contains("dhcpd.leases: cannot be read"),
        "a server that has lent nothing yet"
    );
    let active = "lease 192.0.2.21 {\n  ends never;\n  binding state active;\n}\n";
    fs::write(&isc, active).unwrap();
    until(&mut leases, &["192.0.2.21", "192.0.2.13"]).await;
    fs::write(&isc, "nonsense\n").unwrap();
    let is_refused =
        |leases: &Leases| leases.problem.as_deref().is_some_and(|why| why.contains("not a lease file"));
    let told = timeout(DEADLINE, leases.wait_for(is_refused)).await.unwrap().unwrap().clone();
    assert_eq!(told.live.len(), 2, "what was told last stays");
    fs::write(&isc, active.to_owned() + "lease 192.0.2.21 {\n  binding state free;\n}\n").unwrap();
    assert_eq!(until(&mut leases, &["192.0.2.13"]).await.problem, None);
    task.abort();
    fs::remove_dir_all(&directory).unwrap();
}

#[tokio::test]
async fn keas_leases_outlive_the_cleanup_of_its_file() {
    let directory = std::env::temp_dir().join(format!("lb-kea-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let at = |suffix: &str| directory.join(format!("kea-leases4.csv{suffix}"));
    let header = "address,hwaddr,valid_lifetime,expire,state\n";
    let ends = Timestamp::now().as_second() + 3600;
    let row = |last: u8, lifetime| format!("192.0.2.{last},52:54:00:00:00:{last:02},{lifetime},{ends},0\n");
    fs::write(at(""), header.to_owned() + &row(11, 60) + &row(12, 60)).unwrap();
    let (published, mut leases) = watch::channel(Leases::default());
    let task = tokio::spawn(task::run(vec![at("")], published));
    until(&mut leases, &["192.0.2.11", "192.0.2.12"]).await;

    fs::rename(at(""), at(".1")).unwrap();
    fs::write(at(""), header.to_owned() + &row(13, 60)).unwrap();
    until(&mut leases, &["192.0.2.11", "192.0.2.12", "192.0.2.13"]).await;

    fs::write(at(".completed"), header.to_owned() + &row(12, 60) + &row(14, 60)).unwrap();
    until(&mut leases, &["192.0.2.12", "192.0.2.13", "192.0.2.14"]).await;
    fs::remove_file(at(".1")).unwrap();
    fs::rename(at(".completed"), at(".2")).unwrap();
    fs::write(at(""), header.to_owned() + &row(15, 60) + &row(12, 0)).unwrap();
    let told = until(&mut leases, &["192.0.2.14", "192.0.2.15"]).await;
    assert_eq!(told.problem, None);
    task.abort();
    fs::remove_dir_all(&directory).unwrap();
}

#[tokio::test]
async fn a_file_that_is_too_long_is_a_problem_and_its_leases_stay() {
    let directory = std::env::temp_dir().join(format!("lb-long-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let path = directory.join("dnsmasq.leases");
    fs::write(&path, "0 52:54:00:00:00:11 192.0.2.11 * *\n").unwrap();
    let (published, mut leases) = watch::channel(Leases::default());
    let task = tokio::spawn(task::run(vec![path.clone()], published));
    until(&mut leases, &["192.0.2.11"]).await;
    // A hole takes no place on the disk.
    fs::File::options().write(true).open(&path).unwrap().set_len((64 << 20) + 1).unwrap();
    let is_told =
        |leases: &Leases| leases.problem.as_deref().is_some_and(|why| why.contains("more than 64 MiB"));
    let told = timeout(DEADLINE, leases.wait_for(is_told)).await.unwrap().unwrap().clone();
    assert_eq!(told.live.len(), 1);
    task.abort();
    fs::remove_dir_all(&directory).unwrap();
}

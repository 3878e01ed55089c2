//! Stock kubectl against the agent's API: what `docs/kubectl.md` shows, and that it is so.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use lb_tests::lab::client::http;
use lb_tests::lab::kubectl::{self, Kubectl, LISTEN};
use lb_tests::lab::process::Process;
use lb_tests::lab::topology::{Hook, Topology};
use lb_tests::lab::{Lab, Spec, wait};
use lb_tests::skip::skip;

use crate::fixture::{SOON, start_http};

/// Everything between these lines of the page is what the test has seen.
const BEGIN: &str = "<!-- transcript: begin -->\n";
const END: &str = "<!-- transcript: end -->\n";

fn manifest(lab: &Lab) -> String {
    let (subnet, start, end) = lab.spec.topology.vips();
    format!(
        "\
apiVersion: loadbalancer.harvesterhci.io/v1beta1
kind: IPPool
metadata: {{name: lab}}
spec:
  description: lab pool
  ranges: [{{subnet: {subnet}, rangeStart: {start}, rangeEnd: {end}}}]
  selector: {{priority: 10, scope: [{{project: \"*\", namespace: shop, guestCluster: \"*\"}}]}}
---
apiVersion: loadbalancer.harvesterhci.io/v1beta1
kind: LoadBalancer
metadata: {{namespace: shop, name: front}}
spec:
  workloadType: vm
  ipam: pool
  ipPool: \"\"
  listeners:
    - {{name: web, protocol: TCP, port: 80, backendPort: 8080}}
  backendServerSelector: {{app: [web]}}
  healthCheck: {{port: 8080, successThreshold: 1, failureThreshold: 3, periodSeconds: 5, timeoutSeconds: 3}}
"
    )
}

/// A lab whose agent listens at a port, with web servers in its VMs.
fn lab() -> Lab {
    let lab = Lab::create(Spec { topology: Topology::Bridge, hook: Hook::Tc, vms: 2 }).unwrap();
    let text = lab.installation.configuration(Topology::Bridge, Hook::Tc);
    lab.installation.configure(&format!("{text}api:\n  listen: {{address: \"{LISTEN}\"}}\n")).unwrap();
    lab
}

/// Commands and what they print, without what changes from run to run.
#[derive(Default)]
struct Transcript(String);

impl Transcript {
    fn run(&mut self, kubectl: &Kubectl, line: &str) -> String {
        let arguments: Vec<&str> = line.split(' ').collect();
        let text = kubectl.run(&arguments).unwrap();
        self.note(line, &text);
        text
    }

    fn note(&mut self, line: &str, text: &str) {
        let _ = write!(self.0, "$ kubectl {line}\n{}\n", stable(text));
    }
}

/// Ages and moments are those of no run in particular.
fn stable(text: &str) -> String {
    let mut stable = String::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_inclusive(' ').map(|word| word.trim_end_matches(' ')).collect();
        let mut line = line.to_owned();
        for word in words {
            let is_age = word
                .strip_suffix('s')
                .is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
            if is_age && line.ends_with(word) {
                line.truncate(line.len() - word.len());
                line.push_str("3s");
            }
            if word.len() == 20 && word.ends_with('Z') && word.contains('T') {
                line = line.replace(word, "2026-01-01T00:00:00Z");
            }
        }
        stable.push_str(line.trim_end());
        stable.push('\n');
    }
    stable
}

#[test]
fn a_harvester_manifest_applied_by_kubectl_serves_as_the_page_shows() {
    let program = match kubectl::program() {
        Ok(program) => program,
        Err(reason) => return skip(&reason),
    };
    let lab = lab();
    let _http: Vec<_> = lab.vms.iter().map(|vm| start_http(&lab, vm)).collect();
    let _agent = lab.start_agent().unwrap();
    let kubectl = Kubectl::new(&lab, program.clone(), "admin", &["--role", "admin", "--namespace", "shop"]);
    // Limited to a namespace, an admin rules no pools: this one is not.
    let limited = kubectl.unwrap();
    assert!(limited.run(&["get", "pools"]).unwrap().contains("Forbidden"));
    let ask = |words: &[&str]| limited.run(&[&["auth"][..], words].concat()).unwrap();
    assert_eq!(ask(&["can-i", "create", "lb", "-n", "shop"]), "yes\n");
    assert!(ask(&["can-i", "create", "lb", "-n", "bank"]).starts_with("no"));
    assert!(ask(&["can-i", "create", "pools"]).lines().any(|line| line.starts_with("no")));
    let (rules, who) = (ask(&["can-i", "--list", "-n", "shop"]), ask(&["whoami"]));
    assert!(rules.contains("loadbalancers.loadbalancer.harvesterhci.io"), "{rules}");
    assert!(who.contains("token admin"), "{who}");
    let kubectl = Kubectl::new(&lab, program, "root", &["--role", "admin"]).unwrap();
    fs::write(kubectl.home().join("front.yaml"), manifest(&lab)).unwrap();

    let mut transcript = Transcript::default();
    transcript.run(&kubectl, "apply -f front.yaml");
    transcript.run(&kubectl, "wait --for=condition=Ready --timeout=60s lb/front -n shop");
    let shown = transcript.run(&kubectl, "get lb -n shop");
    transcript.run(&kubectl, "get pools");
    let vip: Ipv4Addr = shown.split_whitespace().find_map(|word| word.parse().ok()).unwrap();
    let asked = || http::ask_often(lab.client(), SocketAddr::from((vip, 80)), 60);
    wait::until("both VMs answer", SOON, || {
        asked().is_ok_and(|tally| tally.failures.is_empty() && tally.answers.len() == 2)
    })
    .unwrap();

    let log = kubectl.home().join("watch.log");
    let watched = "get lb front -n shop --watch";
    let arguments: Vec<&str> = watched.split(' ').collect();
    let watch = Process::start(&mut kubectl.command(&arguments), log).unwrap();
    wait::until("the watch begins", SOON, || watch.log().contains("front")).unwrap();
    transcript.run(&kubectl, r#"patch lb front -n shop --type merge -p {"spec":{"description":"patched"}}"#);
    wait::until("the watch tells of the patch", SOON, || watch.log().contains("patched")).unwrap();
    let mut told: Vec<String> = stable(&watch.log()).lines().map(str::to_owned).collect();
    told.dedup();
    transcript.note(watched, &told.join("\n"));
    drop(watch);

    transcript.run(&kubectl, "apply --server-side -f front.yaml");
    transcript.run(&kubectl, "apply -f front.yaml --dry-run=server");
    let described = kubectl.run(&["describe", "lb", "front", "-n", "shop"]).unwrap();
    for word in ["Ready", "Address:", &vip.to_string(), "Backend Servers:", "AddressAssigned", "BackendReady"]
    {
        assert!(described.contains(word), "{word}: {described}");
    }
    let events = kubectl.run(&["events", "-n", "shop", "--for", "loadbalancer/front"]).unwrap();
    assert!(events.contains(&format!("address {vip} of pool lab")), "{events}");
    let events = kubectl.run(&["get", "events", "-n", "shop"]).unwrap();
    assert!(events.contains("loadbalancer/front"), "{events}");
    let old =
        kubectl.run(&["get", "loadbalancers.v1alpha1.loadbalancer.harvesterhci.io", "-n", "shop"]).unwrap();
    let warning = "Warning: loadbalancer.harvesterhci.io/v1alpha1 LoadBalancer is deprecated; use ";
    assert!(old.contains(warning), "{old}");
    let request = format!("loadbalancer.harvesterhci.io/manuallyReleaseIP={vip}: shop/front");
    kubectl.run(&["annotate", "pool", "lab", &request]).unwrap();
    let described = kubectl.run(&["describe", "pool", "lab"]).unwrap();
    for word in ["Events:", "AddressNotReleased", "the load balancer exists"] {
        assert!(described.contains(word), "{word}: {described}");
    }
    let mut edit = kubectl.command(&["edit", "lb", "front", "-n", "shop"]);
    let edited = edit.env("EDITOR", "sed -i s/description:.patched/description:\\ edited/").output().unwrap();
    transcript.note("edit lb front -n shop", &String::from_utf8_lossy(&edited.stdout));
    transcript.run(&kubectl, "get lb front -n shop -o jsonpath={.spec.description}");
    transcript.run(&kubectl, "delete lb front -n shop");
    transcript.run(&kubectl, "delete pool lab");
    transcript.run(&kubectl, "get lb -A");
    check_page(&manifest(&lab), &transcript.0);
}

/// The page shows what was seen; `LB_UPDATE_SNAPSHOTS=1` makes it so.
fn check_page(manifest: &str, transcript: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/kubectl.md");
    let page = fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let seen = format!(
        "{before}{BEGIN}`front.yaml`, as it would be applied to Harvester:\n\n```yaml\n{manifest}```\n\n\
         ```console\n{}```\n{END}{after}",
        transcript.trim_end().to_owned() + "\n"
    );
    if std::env::var_os("LB_UPDATE_SNAPSHOTS").is_some() {
        fs::write(&path, seen).unwrap();
    } else {
        assert_eq!(page, seen, "docs/kubectl.md is out of date: run this test with LB_UPDATE_SNAPSHOTS=1");
    }
}

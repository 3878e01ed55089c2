//! Checks of all kinds, over real servers that are well and ill.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use lb_tests::lab::agent::Agent;
use lb_tests::lab::client::traffic::{Traffic, tally};
use lb_tests::lab::process::Process;
use lb_tests::lab::server::dns;
use lb_tests::lab::server::grpc::{self, Grpc};
use lb_tests::lab::server::http::is_listening;
use lb_tests::lab::topology::{Hook, Topology};
use lb_tests::lab::{Lab, SHOP, Spec, Vm, wait};
use lb_tests::skip::skip;
use serde_json::Value;

use crate::fixture::SOON;

/// Serves HTTP, and HTTPS with its own certificate.
struct Web {
    _process: Process,
    directory: PathBuf,
}

const HTTP: u16 = 8080;
const HTTPS: u16 = 8443;

impl Web {
    /// With a certificate signed by the authority `ca`, or by nobody.
    fn start(vm: &Vm, directory: &Path, ca: Option<&Path>) -> Self {
        let directory = directory.join(format!("web-{}", vm.name));
        fs::create_dir_all(&directory).unwrap();
        certify(&directory, ca);
        let configuration = directory.join("nginx.conf");
        let own = directory.display();
        let (name, temp) = (&vm.name, ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]);
        let temp: String = temp.iter().map(|each| format!("{each}_temp_path {own};\n")).collect();
        let text = format!(
            "daemon off; master_process off; pid {own}/nginx.pid; events {{}}
             http {{ access_log off; {temp}
               server {{
                 listen {HTTP}; listen [::]:{HTTP} ipv6only=on;
                 listen {HTTPS} ssl; listen [::]:{HTTPS} ssl ipv6only=on;
                 ssl_certificate {own}/web.pem; ssl_certificate_key {own}/web.key;
                 root {own};
                 location / {{ default_type text/plain; return 200 \"{name}\\n\"; }}
                 location = /health {{ try_files $uri =503; }}
               }}
             }}"
        );
        fs::write(&configuration, text).unwrap();
        let mut command = vm.namespace.command("nginx");
        command.arg("-p").arg(&directory).arg("-c").arg(&configuration).args(["-e", "error.log"]);
        let process = Process::start(&mut command, directory.join("output.log")).unwrap();
        let web = Self { _process: process, directory };
        web.be_well(true);
        wait::until("nginx listens", SOON, || is_listening(&vm.namespace, HTTPS)).unwrap();
        web
    }

    /// What it says when it is asked for `/health`.
    fn be_well(&self, is_well: bool) {
        let file = self.directory.join("health");
        if is_well { fs::write(file, "well\n").unwrap() } else { fs::remove_file(file).unwrap() }
    }
}

/// Makes a key and a certificate for `shop.example` in a directory.
fn certify(directory: &Path, ca: Option<&Path>) {
    let mut arguments = vec!["-keyout", "web.key", "-out", "web.pem", "-subj", "/CN=shop"];
    arguments.extend(["-addext", "subjectAltName=DNS:shop.example", "-addext", "basicConstraints=CA:FALSE"]);
    let (authority, key) = ca.map(|ca| (ca.join("web.pem"), ca.join("web.key"))).unzip();
    let paths: Vec<_> = [("-CA", &authority), ("-CAkey", &key)]
        .into_iter()
        .flat_map(|(option, path)| path.as_ref().map(|path| [option.to_owned(), path.display().to_string()]))
        .flatten()
        .collect();
    arguments.extend(paths.iter().map(String::as_str));
    openssl(directory, &arguments);
}

/// Makes an authority in a directory; returns its certificate.
fn authority(directory: &Path) -> String {
    openssl(directory, &["-keyout", "web.key", "-out", "web.pem", "-subj", "/CN=authority"]);
    fs::read_to_string(directory.join("web.pem")).unwrap()
}

fn openssl(directory: &Path, arguments: &[&str]) {
    let new =
        ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
    let made = Command::new("openssl").args(new).args(arguments).current_dir(directory).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// Each listener with a check of its own that fails after two seconds or so.
fn manifest(authority: &str) -> String {
    const EVERY: &str = "periodSeconds: 1, timeoutSeconds: 1, failureThreshold: 2";
    let authority: String = authority.lines().map(|line| format!("            {line}\n")).collect();
    format!(
        "apiVersion: loadbalancer.harvesterhci.io/v1beta1
kind: LoadBalancer
metadata: {{namespace: {SHOP}, name: kinds}}
spec:
  backendServerSelector: {{app: [web]}}
  listeners:
    - name: web
      port: 80
      protocol: TCP
      backendPort: {HTTP}
      healthCheck: {{type: HTTP, http: {{path: /health, expectedStatuses: [200]}}, {EVERY}}}
    - name: tls
      port: 443
      protocol: TCP
      backendPort: {HTTPS}
      healthCheck:
        type: HTTPS
        periodSeconds: 1
        timeoutSeconds: 1
        http: {{host: shop.example}}
        tls:
          verify: true
          certificateAuthorities: |
{authority}
    - {{name: dns, port: 53, protocol: UDP, backendPort: 53, healthCheck: {{{EVERY}}}}}
    - name: grpc
      port: {port}
      protocol: TCP
      backendPort: {port}
      healthCheck: {{type: GRPC, grpc: {{service: shop.Cart}}, {EVERY}}}
",
        port = grpc::PORT
    )
}

/// What the status says of a VM at a listener: `Ready`, or what is wrong.
fn state(lab: &Lab, vm: &str, listener: &str) -> String {
    let object = lab.installation.json(&["get", "kinds", "--namespace", SHOP]).unwrap();
    let named = |all: &Value, field: &str, name: &str| {
        all.as_array()
            .and_then(|all| all.iter().find(|each| each[field] == name))
            .cloned()
            .unwrap_or_default()
    };
    let backend = named(&object["status"]["backends"], "vm", vm);
    let found = named(&backend["listeners"], "name", listener);
    match found["state"].as_str() {
        Some("Ready") => "Ready".to_owned(),
        _ => found["message"].as_str().unwrap_or_default().to_owned(),
    }
}

fn until(lab: &Lab, vm: &str, listener: &str, expected: &str) {
    let mut last = String::new();
    let result = wait::until(&format!("{vm} at {listener} is {expected}"), SOON, || {
        last = state(lab, vm, listener);
        last.starts_with(expected)
    });
    result.unwrap_or_else(|error| panic!("{error}: it is {last:?}"));
}

#[test]
fn real_servers_are_found_well_and_ill_at_each_listener_and_a_restart_changes_nothing() {
    if !Path::new(grpc::MODULE).exists() {
        return skip("python3-grpcio is not installed");
    }
    let lab = Lab::create(Spec { topology: Topology::Bridge, hook: Hook::Tc, vms: 2 }).unwrap();
    let [directory, ca] = ["servers", "authority"].map(|name| lab.directory(name).unwrap());
    let certificate = authority(&ca);
    let webs = [Web::start(&lab.vms[0], &directory, Some(&ca)), Web::start(&lab.vms[1], &directory, None)];
    let mut names: Vec<_> =
        lab.vms.iter().map(|vm| dns::start(&vm.namespace, &vm.name, &directory).unwrap()).collect();
    let grpcs: Vec<_> =
        lab.vms.iter().map(|vm| Grpc::start(&vm.namespace, &vm.name, &directory).unwrap()).collect();
    let agent = lab.start_agent().unwrap();
    lab.create_pool().unwrap();
    let path = lab.installation.directory.join("kinds.yaml");
    fs::write(&path, manifest(&certificate)).unwrap();
    lab.installation.lb(&["apply", "-f", &path.to_string_lossy()]).unwrap();
    for vm in ["vm1", "vm2"] {
        for listener in ["web", "dns", "grpc"] {
            until(&lab, vm, listener, "Ready");
        }
    }
    until(&lab, "vm1", "tls", "Ready");
    until(&lab, "vm2", "tls", "TLS: invalid peer certificate");

    webs[0].be_well(false);
    until(&lab, "vm1", "web", "HTTP 503");
    names.remove(1).kill().unwrap();
    until(&lab, "vm2", "dns", "port unreachable");
    grpcs[0].serve(false).unwrap();
    until(&lab, "vm1", "grpc", "gRPC: NOT_SERVING");
    assert_eq!(state(&lab, "vm1", "tls"), "Ready", "its other listeners go on");
    assert_eq!(state(&lab, "vm2", "web"), "Ready");
    let listed = lab.installation.lb(&["backend", "list", "kinds", "--namespace", SHOP]).unwrap();
    assert!(listed.contains("HTTP 503") && listed.contains("Unhealthy"), "{listed}");

    let _agent = restart(&lab, agent);
    webs[0].be_well(true);
    until(&lab, "vm1", "web", "Ready");
}

/// Kills the agent and starts it anew: vm2 alone answers at `web`, before, in between and after.
fn restart(lab: &Lab, agent: Agent) -> Agent {
    let object = lab.installation.json(&["get", "kinds", "--namespace", SHOP]).unwrap();
    let vip: std::net::Ipv4Addr = object["status"]["address"].as_str().unwrap().parse().unwrap();
    let traffic = Traffic::start(lab.client(), (vip, 80).into(), Duration::from_millis(5)).unwrap();
    agent.kill().unwrap();
    let agent = lab.start_agent().unwrap();
    // Its own probes have told of both by then.
    wait::until("the new agent has probed", SOON, || {
        let report = lab.installation.json(&["backend", "list", "kinds", "--namespace", SHOP]).unwrap();
        let backends = report.pointer("/loadBalancers/0/listeners/0/backends").and_then(Value::as_array);
        backends.is_some_and(|all| {
            all.iter().map(|each| each["health"].as_str().unwrap()).eq(["Unhealthy", "Healthy"])
        })
    })
    .unwrap();
    let requests = traffic.stop().unwrap();
    let told = tally(&requests);
    assert_eq!(told.failures, [""; 0]);
    assert_eq!(told.answers().keys().collect::<Vec<_>>(), ["vm2"]);
    agent
}

//! The command line as people use it: at a terminal, and with an editor.

use lb_tests::lab::topology::{Hook, Topology};
use lb_tests::lab::{Lab, SHOP, Spec, terminal};

#[test]
fn at_a_terminal_what_is_missing_is_asked_for_and_otherwise_it_is_an_error() {
    let lab = Lab::create(Spec { topology: Topology::Bridge, hook: Hook::Tc, vms: 1 }).unwrap();
    let _agent = lab.start_agent().unwrap();
    lab.create_pool().unwrap();

    let create = ["create", "--namespace", SHOP];
    let answers = "front\nno port\nweb:80:8080\n\napp=web\n\nlab\n\nyes\n";
    let (is_done, shown) = terminal::run(&mut lab.installation.command(&create), answers).unwrap();
    assert!(is_done && shown.contains("  \"no port\""), "{shown}");
    assert!(
        shown.contains("As arguments: front --listener web:80:8080 --selector app=web --pool lab\n"),
        "{shown}"
    );
    assert!(shown.contains("LoadBalancer shop/front created: "), "{shown}");
    let object = lab.installation.json(&["get", "front", "--namespace", SHOP]).unwrap();
    assert_eq!(object["spec"]["listeners"][0]["backendPort"], 8080);

    let (is_done, shown) =
        terminal::run(&mut lab.installation.command(&create), "other\n80\n\n\n\n\nno\n").unwrap();
    assert!(!is_done && shown.contains("error: nothing is created"), "{shown}");

    let refused = lab.installation.run(&create).unwrap();
    assert_eq!(refused.status.code(), Some(2), "wrong usage");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--listener <SPEC>"), "{refused:?}");

    let mut edit = lab.installation.command(&["edit", "lb", "front", "--namespace", SHOP]);
    let (is_done, shown) =
        terminal::run(edit.env_remove("VISUAL").env("EDITOR", "sed -i 's/port: 80$/port: 81/'"), "").unwrap();
    assert!(is_done && shown.contains("LoadBalancer shop/front configured"), "{shown}");

    let manifest = lab.directory("manifests").unwrap().join("front.yaml");
    std::fs::write(&manifest, lab.installation.lb(&["export", "--namespace", SHOP]).unwrap()).unwrap();
    let diff = |text: &str, code: i32| {
        std::fs::write(&manifest, text).unwrap();
        let output = lab.installation.run(&["diff", "-f", &manifest.to_string_lossy()]).unwrap();
        assert_eq!(output.status.code(), Some(code), "{output:?}");
    };
    let exported = std::fs::read_to_string(&manifest).unwrap();
    diff(&exported, 0);
    diff(&exported.replace("port: 81", "port: 82"), 1);
    diff(&exported.replace("port: 81", "port: 0"), 2);
}

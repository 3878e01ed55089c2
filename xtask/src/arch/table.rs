//! The table of house rules.

/// The crates that are checked.
pub(super) const MEMBERS: [&str; 5] = ["lb-common", "lb-ebpf", "lb-userspace", "xtask", "tests"];

/// The longest that a file may be.
pub(super) const MAX_LINES: usize = 400;

/// Names of files and directories that say nothing about what is inside.
pub(super) const FORBIDDEN_NAMES: [&str; 8] =
    ["util", "utils", "helper", "helpers", "manager", "misc", "common", "stuff"];

/// Some words that only some files may name.
pub(super) struct Rule {
    /// Paths as Rust code writes them.
    pub(super) words: &'static [&'static str],
    /// Where the rule holds: prefixes of paths, or a file's name.
    within: Within,
    /// The exceptions: prefixes of paths.
    except: &'static [&'static str],
    /// Said to whoever breaks it.
    pub(super) reason: &'static str,
}

enum Within {
    Under(&'static [&'static str]),
    Named(&'static [&'static str]),
}

impl Rule {
    /// Whether the rule holds for this file.
    pub(super) fn binds(&self, path: &str) -> bool {
        let within = match self.within {
            Within::Under(prefixes) => prefixes.iter().any(|prefix| path.starts_with(prefix)),
            Within::Named(names) => {
                path.starts_with(AGENT) && names.iter().any(|name| path.rsplit('/').next() == Some(name))
            }
        };
        within && !self.except.iter().any(|prefix| path.starts_with(prefix))
    }
}

const AGENT: &str = "lb-userspace/src/";

pub(super) const RULES: &[Rule] = &[
    Rule {
        words: &["aya", "aya_obj", "aya_log"],
        within: Within::Under(&[AGENT]),
        except: &["lb-userspace/src/datapath/kernel/"],
        reason: "only datapath/kernel/ talks to the kernel's BPF",
    },
    Rule {
        words: &["rtnetlink", "netlink_packet_route"],
        within: Within::Under(&[AGENT]),
        except: &["lb-userspace/src/inventory/links"],
        reason: "only inventory/links talks netlink, whose crates move often",
    },
    Rule {
        words: &["axum", "hyper", "hyper_util", "http_body_util"],
        within: Within::Under(&[AGENT]),
        except: &[
            "lb-userspace/src/api/",
            "lb-userspace/src/cli/client",
            "lb-userspace/src/health/probe/http.rs",
        ],
        reason: "only api/, the command line's client and probes of HTTP speak it",
    },
    Rule {
        words: &["roxmltree"],
        within: Within::Under(&[AGENT]),
        except: &["lb-userspace/src/inventory/libvirt/"],
        reason: "only inventory/libvirt reads what libvirt writes",
    },
    Rule {
        words: &["redb"],
        within: Within::Under(&[AGENT]),
        except: &["lb-userspace/src/store/"],
        reason: "only store/ knows what keeps the objects",
    },
    Rule {
        words: &["clap", "comfy_table"],
        within: Within::Under(&[AGENT]),
        except: &["lb-userspace/src/cli/", "lb-userspace/src/main.rs"],
        reason: "only cli/ is typed and read by people",
    },
    Rule {
        words: &[
            "tokio",
            "aya",
            "std::fs",
            "std::process",
            "std::thread",
            "std::net::TcpStream",
            "std::net::TcpListener",
            "std::net::UdpSocket",
            "Instant::now",
            "SystemTime::now",
        ],
        within: Within::Named(&[
            "model.rs",
            "sm.rs",
            "plan.rs",
            "pool.rs",
            "wire.rs",
            "maglev.rs",
            "select.rs",
        ]),
        except: &[],
        reason: "a file of this name decides; files, clocks and tasks belong to task.rs and the doors",
    },
    Rule {
        words: &["std::fs", "std::process", "tokio"],
        within: Within::Under(&["lb-userspace/src/doctor/"]),
        except: &["lb-userspace/src/doctor/system.rs"],
        reason: "the doctor reads the system through one door, so that tests can feed it recordings",
    },
    Rule {
        words: &["std::fs", "std::net::TcpStream", "std::thread", "tokio", "Instant::now", "SystemTime::now"],
        within: Within::Under(&["lb-common/src/", "lb-ebpf/src/"]),
        except: &[],
        reason: "the contract and the packet programs have no operating system",
    },
    Rule {
        words: &["anyhow"],
        within: Within::Under(&[AGENT]),
        except: &["lb-userspace/src/cli/", "lb-userspace/src/main.rs", "lb-userspace/src/supervise"],
        reason: "a feature's errors are an enum that carries the offending value",
    },
    Rule {
        words: &["aya", "tokio", "nix", "libc", "serde"],
        within: Within::Under(&["xtask/"]),
        except: &[],
        reason: "xtask is compiled before anything can be done and stays light",
    },
];

/// Features of the agent: folders that facts flow into or commands out of.
const FEATURES: [&str; 8] =
    ["announce", "api", "control", "datapath", "health", "inventory", "ipam", "store"];

/// Who may import whom, beside `control`, which may import all.
const EDGES: [(&str, &str); 1] = [("api", "control")];

/// The feature that a file belongs to.
pub(super) fn feature(path: &str) -> Option<&'static str> {
    let rest = path.strip_prefix(AGENT)?;
    let folder = rest.split(['/', '.']).next()?;
    FEATURES.into_iter().find(|feature| *feature == folder)
}

/// Whether a file of one feature may name another.
pub(super) fn may_import(feature: &str, other: &str) -> bool {
    feature == other
        || feature == "control"
        || !FEATURES.contains(&other)
        || EDGES.contains(&(feature, other))
}

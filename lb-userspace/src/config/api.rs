//! The `api` section: who may speak to the agent, and where.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::check::Checks;
use super::schema;
use crate::model::grant::{Grant, Role};
use crate::model::names;

/// Who may speak to the agent, and where.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Api {
    /// The group whose members may use the Unix socket; `None` is root alone.
    pub socket_group: Option<String>,
    /// TCP with TLS; `None` opens no port.
    pub listen: Option<Listen>,
    /// What clients may do, by the common names of their certificates.
    pub users: BTreeMap<String, Grant>,
}

/// TCP with TLS.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listen {
    /// Address and port.
    pub address: SocketAddr,
    /// Names and addresses that the certificate made by the agent is for, beside the address.
    pub names: Vec<String>,
    /// Files of the certificate and its key; `None` lets the agent make them.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// The file of the certificates that sign those of clients; `None` takes tokens alone.
    pub client_authority: Option<PathBuf>,
    /// Where the agent keeps the authority that signs its own certificate.
    pub directory: PathBuf,
}

impl Checks {
    /// Checks the section.
    pub(super) fn api(&mut self, file: schema::Api, state_directory: &Path) -> Api {
        if file.socket_group.as_deref() == Some("") {
            self.add("api.socketGroup", "is empty; name a group, or leave the field out");
        }
        let mut users = BTreeMap::new();
        for (i, user) in file.users.into_iter().enumerate() {
            let field = format!("api.users[{i}]");
            if user.name.is_empty() {
                self.add(format!("{field}.name"), "is empty; give the common name of a certificate");
            }
            let namespaces = self.namespaces(&field, user.namespaces);
            let role = self.role(&format!("{field}.role"), &user.role);
            if users.insert(user.name.clone(), Grant { role, namespaces }).is_some() {
                self.add(format!("{field}.name"), format!("{:?} is listed twice; keep one", user.name));
            }
        }
        let listen = file.listen.and_then(|listen| self.listen(listen, state_directory));
        if !users.is_empty() && listen.as_ref().is_none_or(|listen| listen.client_authority.is_none()) {
            self.add("api.users", "nobody has a certificate; set api.listen.clientAuthority");
        }
        Api { socket_group: file.socket_group, listen, users }
    }

    fn listen(&mut self, file: schema::Listen, state_directory: &Path) -> Option<Listen> {
        let certificate = match (file.certificate, file.key) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some((
                self.absolute("api.listen.certificate", certificate),
                self.absolute("api.listen.key", key),
            )),
            (Some(_), None) => {
                self.add("api.listen.key", "is missing; a certificate needs its key");
                None
            }
            (None, Some(_)) => {
                self.add("api.listen.certificate", "is missing; a key needs its certificate");
                None
            }
        };
        for (i, name) in file.names.iter().enumerate() {
            if name.parse::<std::net::IpAddr>().is_err() && names::subdomain(name).is_err() {
                self.add(
                    format!("api.listen.names[{i}]"),
                    format!("{name:?} is neither a name nor an address"),
                );
            }
        }
        let client_authority =
            file.client_authority.map(|path| self.absolute("api.listen.clientAuthority", path));
        let Ok(address) = file.address.parse() else {
            let text = format!("{:?} is no address and port; write as 127.0.0.1:6443", file.address);
            self.add("api.listen.address", text);
            return None;
        };
        let directory = state_directory.join("tls");
        Some(Listen { address, names: file.names, certificate, client_authority, directory })
    }

    fn role(&mut self, field: &str, text: &str) -> Role {
        Role::ALL.into_iter().find(|role| role.name() == text).unwrap_or_else(|| {
            let roles = Role::ALL.map(Role::name).join(", ");
            self.add(field, format!("{text:?} is no role; use one of {roles}"));
            Role::Viewer
        })
    }

    fn namespaces(&mut self, field: &str, names: Vec<String>) -> BTreeSet<String> {
        for (i, name) in names.iter().enumerate() {
            if let Err(rule) = names::label(name) {
                self.add(format!("{field}.namespaces[{i}]"), format!("{name:?}: {rule}"));
            }
        }
        names.into_iter().collect()
    }
}

//! Who asks, and whether they may: before any handler runs.
//!
//! On the Unix socket the kernel says who it is: root and the agent's own user may do everything, and so may the
//! members of one group. On TCP it is a bearer token or the common name of a client certificate.

mod body;
mod lasting;
pub(super) mod token;

use std::collections::BTreeMap;

use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::Response;
use axum::serve::IncomingStream;
use nix::unistd::{Gid, Uid, User, getgrouplist};
use tokio::net::UnixListener;

use super::Api;
use super::failure::Failure;
use super::target::{Source, Target};
use crate::model::grant::{Access, Grant};

/// Who is at the other end of a connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Peer {
    /// A process of this node; `None` if the kernel does not say whose.
    Process(Option<Uid>),
    /// Somebody over TCP, with the certificate if there is one.
    Remote(Option<Certificate>),
}

/// A client's certificate, whose signature has been verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Certificate {
    /// The common name.
    pub name: String,
    /// The last second at which it is good, since 1970.
    pub expires: i64,
}

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        Self::Process(stream.io().peer_cred().ok().map(|credentials| Uid::from_raw(credentials.uid())))
    }
}

/// Who may do what, beside those who have tokens.
#[derive(Clone, Default, Debug)]
pub struct Users {
    /// The group whose members may do everything on the Unix socket.
    pub group: Option<Gid>,
    /// By the common name of a client certificate.
    pub certificates: BTreeMap<String, Grant>,
}

/// Somebody who is known.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    /// For people.
    pub(super) name: String,
    /// What they may do.
    pub(super) grant: Grant,
}

impl Identity {
    /// Refuses what is not granted.
    pub(super) fn check(&self, access: Access<'_>, what: &str) -> Result<(), Failure> {
        if self.grant.allows(access) {
            return Ok(());
        }
        Err(Failure::forbidden(format!("{what} is forbidden: {}", self.standing())))
    }

    /// Who it is and what they may do, for people.
    pub(super) fn standing(&self) -> String {
        let Grant { role, namespaces } = &self.grant;
        let place = match namespaces.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            [] => "all namespaces".to_owned(),
            names => names.join(", "),
        };
        format!("{:?} is {} of {place}", self.name, role.name())
    }
}

/// By what a sender is known: enough to ask again later.
#[derive(Clone, Debug)]
pub(super) enum Claim {
    /// A process of this node.
    Process(Option<Uid>),
    /// What a bearer token hashes to.
    Token(String),
    /// A certificate, or nothing at all.
    Certificate(Option<Certificate>),
}

impl Claim {
    fn of(peer: &Peer, headers: &HeaderMap) -> Self {
        match peer {
            Peer::Process(user) => Self::Process(*user),
            Peer::Remote(certificate) => {
                let bearer = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
                match bearer.and_then(|value| value.strip_prefix("Bearer ")) {
                    Some(token) => Self::Token(token::hash(token.trim())),
                    None => Self::Certificate(certificate.clone()),
                }
            }
        }
    }
}

/// Lets a request through whose sender is known and may do it.
pub(super) async fn guard(
    State(api): State<Api>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
    next: Next,
) -> Result<Response, Failure> {
    let claim = Claim::of(&peer, request.headers());
    let identity = api.identify(&claim)?;
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    identity.check(access(&method, &path), &format!("{method} {path}"))?;
    let mut request = body::whole(request).await?;
    request.extensions_mut().insert(identity);
    let response = next.run(request).await;
    Ok(lasting::while_granted(response, api, claim, method, path))
}

/// What a request wants. Whatever is not known here is for those who may do everything.
pub(super) fn access<'a>(method: &Method, path: &'a str) -> Access<'a> {
    let is_read = *method == Method::GET;
    if let Some(target) = Target::of(path) {
        let namespace = target.namespace.is_some().then(|| namespace_of(path)).flatten();
        return access_to(target.served.source, namespace, is_read);
    }
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    match (first, path) {
        (_, "/lb/v1/status" | "/lb/v1/backends") if is_read => Access::Node,
        // Its items are looked at one by one.
        (_, "/lb/v1/apply") if *method == Method::POST => Access::Discover,
        ("lb", _) => Access::Rule,
        (_, _) => Access::Discover,
    }
}

/// What somebody wants of objects, in a namespace or not.
pub(super) fn access_to(source: Source, namespace: Option<&str>, is_read: bool) -> Access<'_> {
    match (source, namespace) {
        (_, namespace) if is_read => Access::Read(namespace),
        (Source::LoadBalancers, Some(namespace)) => Access::Edit(namespace),
        (Source::LoadBalancers | Source::IpPools | Source::Events, _) => Access::Rule,
    }
}

/// The namespace that a path names.
fn namespace_of(path: &str) -> Option<&str> {
    path.split_once("/namespaces/")?.1.split('/').next()
}

impl Api {
    pub(super) fn identify(&self, claim: &Claim) -> Result<Identity, Failure> {
        match claim {
            Claim::Process(user) => self.process(*user),
            Claim::Token(hash) => self.bearer(hash),
            Claim::Certificate(certificate) => self.certificate(certificate.as_ref()),
        }
    }

    fn process(&self, user: Option<Uid>) -> Result<Identity, Failure> {
        let may = |uid: Uid| uid.is_root() || uid == Uid::effective() || self.is_member(uid);
        match user.filter(|uid| may(*uid)) {
            Some(uid) => Ok(Identity { name: format!("uid {uid}"), grant: Grant::admin() }),
            None => Err(Failure::forbidden("the socket is for root and the members of api.socketGroup")),
        }
    }

    fn is_member(&self, uid: Uid) -> bool {
        let Some(group) = self.users.group else { return false };
        let Ok(Some(user)) = User::from_uid(uid) else { return false };
        let Ok(name) = std::ffi::CString::new(user.name) else { return false };
        getgrouplist(&name, user.gid).is_ok_and(|groups| groups.contains(&group))
    }

    fn bearer(&self, hash: &str) -> Result<Identity, Failure> {
        let resources = self.registry.snapshot();
        let now = jiff::Timestamp::now();
        let found = resources.tokens.values().find(|token| token.hash == hash && token.is_good(now));
        match found {
            Some(token) => Ok(Identity { name: format!("token {}", token.name), grant: token.grant.clone() }),
            None => Err(Failure::unauthorized("the token is not known, revoked or expired")),
        }
    }

    fn certificate(&self, certificate: Option<&Certificate>) -> Result<Identity, Failure> {
        let Some(Certificate { name, expires }) = certificate else {
            return Err(Failure::unauthorized("send a bearer token or a client certificate"));
        };
        if jiff::Timestamp::now().as_second() > *expires {
            return Err(Failure::unauthorized(format!("the certificate of {name:?} has expired")));
        }
        match self.users.certificates.get(name) {
            Some(grant) => Ok(Identity { name: name.to_owned(), grant: grant.clone() }),
            None => Err(Failure::unauthorized(format!("{name:?} is not among api.users"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_request_wants_follows_from_its_verb_and_path() {
        const GROUP: &str = "/apis/loadbalancer.harvesterhci.io/v1beta1";
        let lbs = format!("{GROUP}/namespaces/shop/loadbalancers");
        let (one, all) = (format!("{lbs}/front"), format!("{GROUP}/loadbalancers"));
        let (pools, pool) = (format!("{GROUP}/ippools"), format!("{GROUP}/ippools/lab"));
        for (method, path, expected) in [
            (Method::GET, lbs.as_str(), Access::Read(Some("shop"))),
            (Method::GET, &one, Access::Read(Some("shop"))),
            (Method::GET, &all, Access::Read(None)),
            (Method::GET, &pool, Access::Read(None)),
            (Method::POST, &lbs, Access::Edit("shop")),
            (Method::PATCH, &one, Access::Edit("shop")),
            (Method::DELETE, &lbs, Access::Edit("shop")),
            (Method::DELETE, &all, Access::Rule),
            (Method::POST, &pools, Access::Rule),
            (Method::DELETE, &pool, Access::Rule),
            (Method::GET, "/apis", Access::Discover),
            (Method::GET, "/openapi/v3", Access::Discover),
            (Method::GET, "/lb/v1/status", Access::Node),
            (Method::GET, "/lb/v1/flows", Access::Rule),
            (Method::POST, "/lb/v1/tokens", Access::Rule),
            (Method::GET, "/lb/v1/capture", Access::Rule),
            (Method::POST, "/lb/v1/apply", Access::Discover),
            (Method::DELETE, "/lb/v1/apply", Access::Rule),
        ] {
            assert_eq!(access(&method, path), expected, "{method} {path}");
        }
    }
}

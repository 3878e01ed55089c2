//! Who may do what over TLS: tokens, client certificates, roles, namespaces.

use std::net::SocketAddr;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::api::tls::{self, Authority};
use crate::config::Listen;
use crate::model::grant::{Grant, Role};

/// A server over TLS, beside one on the socket.
pub(super) struct Over {
    pub(super) server: Server,
    address: SocketAddr,
    authority: String,
}

impl Over {
    pub(super) async fn start(name: &str, clients: Option<&str>, users: &[(&str, Grant)]) -> Self {
        Self::start_on(name, clients, users, |listener| listener).await
    }

    /// A server that closes connections that are silent for so long.
    pub(super) async fn start_with_idle(name: &str, idle: std::time::Duration) -> Self {
        Self::start_on(name, None, &[], |listener| listener.with_idle(idle)).await
    }

    async fn start_on(
        name: &str,
        clients: Option<&str>,
        users: &[(&str, Grant)],
        change: impl FnOnce(TlsListener) -> TlsListener,
    ) -> Self {
        let mut server = Server::start(name).await;
        let client_authority = clients.map(|text| {
            let path = server.directory.join("clients.crt");
            std::fs::write(&path, text).unwrap();
            path
        });
        let listen = Listen {
            address: "127.0.0.1:0".parse().unwrap(),
            names: Vec::new(),
            certificate: None,
            client_authority,
            directory: server.directory.join("tls"),
        };
        let (listener, Authority(authority)) = tls::bind(&listen).await.unwrap();
        let listener = change(listener);
        let address = listener.address();
        let certificates = users.iter().map(|(name, grant)| ((*name).to_owned(), grant.clone())).collect();
        let api = server.api.clone().with_users(Users { group: None, certificates });
        server.supervisor.start("tls", |stop| async move {
            api.serve_tls(listener, stop).await;
            Ok(())
        });
        Self { server, address, authority }
    }

    /// A connection of somebody with a certificate or without. `None` if the handshake fails.
    pub(super) async fn connect(&self, who: &Who) -> Option<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.authority.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(roots);
        let config = match who {
            Who::Certificate(certificate, key) => {
                let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
                config.with_client_auth_cert(vec![certificate.clone()], key).unwrap()
            }
            Who::Nobody | Who::Token(_) => config.with_no_client_auth(),
        };
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()
    }

    /// Asks as somebody with a token, a certificate, or nothing. `None` if the handshake fails.
    async fn ask(&self, who: &Who, method: Method, path: &str, body: &Value) -> Option<(u16, Value)> {
        let stream = self.connect(who).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
        if let Who::Token(token) = who {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let request = request.header("content-type", "application/json").body(Full::new(Bytes::from(text)));
        let response = sender.send_request(request.unwrap()).await.ok()?;
        let code = response.status().as_u16();
        let body = response.into_body().collect().await.ok()?.to_bytes();
        Some((code, serde_json::from_slice(&body).unwrap()))
    }

    async fn code(&self, who: &Who, method: Method, path: &str, body: &Value) -> u16 {
        self.ask(who, method, path, body).await.unwrap().0
    }

    /// A new token, asked for on the socket.
    pub(super) async fn token(&self, name: &str, role: &str, namespaces: &[&str]) -> Who {
        let wish = json!({"name": name, "grant": {"role": role, "namespaces": namespaces}});
        let answer = self.server.client.post("/lb/v1/tokens", &wish).await.unwrap();
        Who::Token(answer["token"].as_str().unwrap().to_owned())
    }
}

pub(super) enum Who {
    Nobody,
    Token(String),
    Certificate(CertificateDer<'static>, Box<KeyPair>),
}

#[tokio::test]
async fn nobody_reaches_another_namespaces_load_balancers() {
    let over = Over::start("roles", None, &[]).await;
    over.server
        .client
        .post(&pools(), &pool("lab", "192.0.2.0/24", "192.0.2.80", "192.0.2.89"))
        .await
        .unwrap();
    over.server.client.post(&balancers(), &balancer("front")).await.unwrap();
    let (shop, bank) =
        (over.token("shop", "editor", &["shop"]).await, over.token("bank", "editor", &["bank"]).await);
    let front = format!("{}/front", balancers());
    assert_eq!(over.code(&shop, Method::GET, &front, &Value::Null).await, 200);
    assert_eq!(over.code(&shop, Method::POST, &balancers(), &balancer("more")).await, 201);
    for (method, path, body) in [
        (Method::GET, front.clone(), Value::Null),
        (Method::GET, balancers(), Value::Null),
        (Method::GET, format!("{}?watch=1", balancers()), Value::Null),
        (Method::GET, format!("{GROUP}/loadbalancers"), Value::Null),
        (Method::GET, pools(), Value::Null),
        (Method::POST, balancers(), balancer("mine")),
        (Method::PUT, front.clone(), balancer("front")),
        (Method::PATCH, front.clone(), json!({})),
        (Method::DELETE, front.clone(), Value::Null),
        (Method::DELETE, balancers(), Value::Null),
        (Method::DELETE, format!("{GROUP}/loadbalancers"), Value::Null),
        (Method::POST, pools(), pool("mine", "198.51.100.0/24", "", "")),
        (Method::GET, "/lb/v1/backends".into(), Value::Null),
        (Method::GET, "/lb/v1/flows".into(), Value::Null),
        (Method::GET, "/lb/v1/tokens".into(), Value::Null),
    ] {
        let (code, status) = over.ask(&bank, method.clone(), &path, &body).await.unwrap();
        assert_eq!((code, &status["reason"]), (403, &json!("Forbidden")), "{method} {path}");
    }
    let mut item = balancer("front");
    item["metadata"]["namespace"] = "shop".into();
    let items = json!({ "items": [item] });
    assert_eq!(over.code(&bank, Method::POST, "/lb/v1/apply", &items).await, 403);
    assert_eq!(over.code(&shop, Method::POST, "/lb/v1/apply", &items).await, 200);
    assert_eq!(over.code(&bank, Method::GET, "/apis", &Value::Null).await, 200);
    over.server.stop().await;
}

#[tokio::test]
async fn what_happens_to_a_pool_is_not_told_to_readers_of_one_namespace() {
    let over = Over::start("pool-events", None, &[]).await;
    let client = &over.server.client;
    client.post(&pools(), &pool("lab", "192.0.2.0/24", "192.0.2.80", "192.0.2.80")).await.unwrap();
    for name in ["front", "waiting"] {
        client.post(&balancers(), &balancer(name)).await.unwrap();
    }
    let path = "/api/v1/namespaces/default/events";
    let (one, all) =
        (over.token("one", "viewer", &["default"]).await, over.token("all", "viewer", &[]).await);
    let told = over.ask(&all, Method::GET, path, &Value::Null).await.unwrap().1;
    assert_eq!(told["items"][0]["involvedObject"]["kind"], "IPPool", "{told}");
    let (code, list) = over.ask(&one, Method::GET, path, &Value::Null).await.unwrap();
    assert_eq!((code, &list["items"]), (200, &json!([])));
    let name = told["items"][0]["metadata"]["name"].as_str().unwrap();
    let event = format!("{path}/{name}");
    assert_eq!(over.code(&one, Method::GET, &event, &Value::Null).await, 404);
    assert_eq!(over.code(&all, Method::GET, &event, &Value::Null).await, 200);
    over.server.stop().await;
}

#[tokio::test]
async fn a_token_is_good_until_it_is_revoked_and_is_kept_as_its_hash() {
    let over = Over::start("tokens", None, &[]).await;
    let viewer = over.token("viewer", "viewer", &[]).await;
    assert_eq!(over.code(&viewer, Method::GET, &pools(), &Value::Null).await, 200);
    assert_eq!(over.code(&viewer, Method::POST, &balancers(), &balancer("x")).await, 403);
    let Who::Token(secret) = &viewer else { panic!("no token") };
    let listed = over.server.client.get("/lb/v1/tokens").await.unwrap();
    assert_eq!(listed["items"][0]["name"], "viewer");
    assert!(!listed.to_string().contains(secret));
    let resources = over.server.registry.snapshot();
    assert!(!format!("{resources:?}").contains(secret) && resources.tokens.contains_key("viewer"));
    let again = json!({"name": "viewer", "grant": {"role": "admin"}});
    assert_eq!(refusal(over.server.client.post("/lb/v1/tokens", &again).await).0, 409);
    over.server.client.delete("/lb/v1/tokens/viewer").await.unwrap();
    assert_eq!(over.code(&viewer, Method::GET, &pools(), &Value::Null).await, 401);
    let short = json!({"name": "short", "grant": {"role": "admin"}, "expiresSeconds": 0});
    let short = over.server.client.post("/lb/v1/tokens", &short).await.unwrap();
    let short = Who::Token(short["token"].as_str().unwrap().to_owned());
    assert_eq!(over.code(&short, Method::GET, "/apis", &Value::Null).await, 401);
    for who in [Who::Nobody, Who::Token("lbt_guess".into()), Who::Token(String::new())] {
        assert_eq!(over.code(&who, Method::GET, "/version", &Value::Null).await, 401);
        assert_eq!(over.code(&who, Method::GET, "/nothing", &Value::Null).await, 401);
    }
    over.server.stop().await;
}

fn issued(issuer: &Issuer<'_, KeyPair>, name: &str) -> Who {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    Who::Certificate(params.signed_by(&key, issuer).unwrap().der().clone(), Box::new(key))
}

fn authority(name: &str) -> (String, Issuer<'static, KeyPair>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    (params.self_signed(&key).unwrap().pem(), Issuer::new(params, key))
}

#[tokio::test]
async fn a_client_certificate_is_good_if_its_name_is_known_and_its_signer_trusted() {
    let (text, issuer) = authority("clients");
    let (_, foreign) = authority("clients");
    let users = [("alice", Grant { role: Role::Editor, namespaces: ["shop".to_owned()].into() })];
    let over = Over::start("certificates", Some(&text), &users).await;
    let alice = issued(&issuer, "alice");
    assert_eq!(over.code(&alice, Method::GET, &balancers(), &Value::Null).await, 200);
    assert_eq!(over.code(&alice, Method::GET, &pools(), &Value::Null).await, 403);
    assert_eq!(over.code(&issued(&issuer, "mallory"), Method::GET, &balancers(), &Value::Null).await, 401);
    assert_eq!(over.ask(&issued(&foreign, "alice"), Method::GET, &balancers(), &Value::Null).await, None);
    over.server.stop().await;
}

#[tokio::test]
async fn a_client_certificate_that_has_expired_is_good_for_nothing() {
    let api = Server::start("expired-certificate").await;
    let (text, issuer) = authority("clients");
    let over = Over::start("expired", Some(&text), &[("alice", Grant::admin())]).await;
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "alice");
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let certificate = params.signed_by(&key, &issuer).unwrap().der().clone();
    let alice = Who::Certificate(certificate, Box::new(key));
    assert_eq!(over.ask(&alice, Method::GET, &balancers(), &Value::Null).await, None);
    over.server.stop().await;
    // One that expires while its connection lasts.
    let certificate = Certificate { name: "alice".into(), expires: 1_577_836_800 };
    let claim = auth::Claim::Certificate(Some(certificate));
    let users = Users { group: None, certificates: [("alice".to_owned(), Grant::admin())].into() };
    assert!(api.api.clone().with_users(users).identify(&claim).is_err());
    api.stop().await;
}

#[tokio::test]
async fn the_authority_is_kept_over_a_restart_and_readable_by_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let directory = std::env::temp_dir().join(format!("lb-authority-{}", std::process::id()));
    let address = "127.0.0.1:0".parse().unwrap();
    let listen = Listen {
        address,
        names: Vec::new(),
        certificate: None,
        client_authority: None,
        directory: directory.clone(),
    };
    let (_, Authority(first)) = tls::bind(&listen).await.unwrap();
    let (_, Authority(second)) = tls::bind(&listen).await.unwrap();
    assert_eq!(first, second);
    let mode = std::fs::metadata(directory.join("authority.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    std::fs::remove_dir_all(directory).unwrap();
}

#[tokio::test]
async fn a_slow_handshake_holds_nobody_up() {
    let over = Over::start("slow", None, &[]).await;
    let silent: Vec<TcpStream> = futures_util::future::join_all(
        (0..50).map(|_| async { TcpStream::connect(over.address).await.unwrap() }),
    )
    .await;
    assert_eq!(over.code(&Who::Nobody, Method::GET, "/apis", &Value::Null).await, 401);
    drop(silent);
    over.server.stop().await;
}

#[tokio::test]
async fn whoever_is_known_learns_who_they_are_and_what_they_may_do() {
    let over = Over::start("reviews", None, &[]).await;
    let editor = over.token("me", "editor", &["shop"]).await;
    let authorization = "/apis/authorization.k8s.io/v1";
    let ask = async |path: &str, body: &Value| over.ask(&editor, Method::POST, path, body).await.unwrap();
    let path = format!("{authorization}/selfsubjectaccessreviews");
    let wish = |namespace: &str| {
        let wish = json!({
            "verb": "patch", "group": "loadbalancer.harvesterhci.io", "resource": "loadbalancers", "namespace": namespace,
        });
        json!({
            "kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1",
            "spec": {"resourceAttributes": wish}, "status": {"allowed": true},
        })
    };
    for (namespace, allowed) in [("shop", true), ("bank", false)] {
        let (code, answer) = ask(&path, &wish(namespace)).await;
        assert_eq!((code, &answer["status"]["allowed"]), (201, &json!(allowed)), "{answer}");
        assert_eq!(answer["status"]["reason"], "\"token me\" is editor of shop", "{answer}");
        assert_eq!(answer["spec"], wish(namespace)["spec"]);
    }
    let who = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let (code, answer) = ask(who, &json!({"kind": "SelfSubjectReview"})).await;
    let user = json!({"username": "token me", "groups": ["editor"], "extra": {"namespaces": ["shop"]}});
    assert_eq!((code, &answer["status"]["userInfo"]), (201, &user), "{answer}");
    let rules = format!("{authorization}/selfsubjectrulesreviews");
    let (code, answer) = ask(&rules, &json!({"spec": {"namespace": "bank"}})).await;
    assert_eq!((code, &answer["status"]["incomplete"]), (201, &json!(false)), "{answer}");
    let spec = |spec: Value| json!({"spec": spec});
    let attributes = |attributes: Value| spec(json!({"resourceAttributes": attributes}));
    for wrong in [
        json!({}),
        json!([]),
        json!({"kind": "Pod"}),
        spec(json!(1)),
        spec(json!([])),
        attributes(json!(["get"])),
        attributes(json!({"verb": 1})),
    ] {
        assert_eq!(ask(&path, &wrong).await.0, 400, "{wrong}");
    }
    assert_eq!(over.code(&editor, Method::GET, who, &Value::Null).await, 405);
    assert_eq!(over.code(&Who::Nobody, Method::POST, who, &json!({})).await, 401);
    over.server.stop().await;
}

//! TLS servers with certificates that are good, another's, or nobody's.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::model::health_check::TlsCheck;

type Issuer = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Issuer {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Answers one request of HTTPS, with a certificate for these names; tells for whom it was asked.
async fn serve(issuer: &Issuer, names: &[&str]) -> (SocketAddr, JoinHandle<Option<String>>) {
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let certificate: CertificateDer<'static> =
        CertificateParams::new(names).unwrap().signed_by(&key, issuer).unwrap().into();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = rustls::crypto::ring::default_provider();
    let config = ServerConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(std::sync::Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        // A probe that does not trust the certificate goes away.
        let mut stream = acceptor.accept(stream).await.ok()?;
        let mut question = [0; 1024];
        let _ = stream.read(&mut question).await.ok()?;
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.ok()?;
        stream.get_ref().1.server_name().map(ToOwned::to_owned)
    });
    (address, served)
}

fn https(tls: TlsCheck) -> CheckedHealthCheck {
    check(HealthCheck { kind: "HTTPS".into(), tls: Some(tls), ..HealthCheck::default() }, PATIENT)
}

#[tokio::test]
async fn without_verification_any_certificate_will_do() {
    let (address, served) = serve(&authority(), &["other.example"]).await;
    assert_eq!(probe(address, &https(TlsCheck::default())).await, Ok(()));
    assert_eq!(served.await.unwrap(), None, "an address is nobody to ask for");
}

#[tokio::test]
async fn a_good_certificate_is_the_named_servers_by_a_known_authority() {
    let (ours, other) = (authority(), authority());
    let verify = |issuer: &Issuer, server_name: &str| {
        let (server_name, certificate_authorities) = (server_name.to_owned(), issuer.pem());
        https(TlsCheck { verify: true, server_name, certificate_authorities })
    };
    let names = ["shop.example", "127.0.0.1"];
    for (issuer, name, asked_for) in [(&ours, "shop.example", Some("shop.example")), (&ours, "", None)] {
        let (address, served) = serve(&ours, &names).await;
        assert_eq!(probe(address, &verify(issuer, name)).await, Ok(()), "{name:?}");
        assert_eq!(served.await.unwrap().as_deref(), asked_for);
    }
    for (issuer, name, words) in [
        (&ours, "bank.example", "TLS: invalid peer certificate: certificate not valid for name"),
        (&other, "shop.example", "TLS: invalid peer certificate"),
    ] {
        let (address, _served) = serve(&ours, &names).await;
        let failed = probe(address, &verify(issuer, name)).await.unwrap_err().to_string();
        assert!(failed.starts_with(words), "{failed}");
    }
    let (address, _served) = serve(&ours, &names).await;
    let of_node = https(TlsCheck { verify: true, ..TlsCheck::default() });
    let failed = probe(address, &of_node).await.unwrap_err();
    assert_eq!(failed.name(), "TlsFailed", "{failed}");
}

#[tokio::test]
async fn a_server_that_does_not_speak_tls_fails() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let plain = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"220 mail.example ESMTP\r\n").await.unwrap();
        // Read to the end: what is unread would make the end a reset.
        drop(stream.read_to_end(&mut Vec::new()).await);
    };
    let https = https(TlsCheck::default());
    let (result, ()) = tokio::join!(probe(address, &https), plain);
    assert_eq!(result.unwrap_err().name(), "TlsFailed");
}

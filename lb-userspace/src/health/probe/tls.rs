//! TLS towards servers. Without verification, a certificate is taken as it is: a check asks whether a server is
//! well, not who it is.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::health::failure::{ProbeFailed, words};
use crate::model::check::CheckedTls;

/// HTTP/1.1, as TLS names it.
pub(super) const HTTP: &[u8] = b"http/1.1";
/// HTTP/2, as TLS names it.
pub(super) const HTTP2: &[u8] = b"h2";

/// The node's authorities, read when they are first needed.
#[derive(Clone, Default, Debug)]
pub(super) struct Authorities(Arc<OnceCell<Arc<RootCertStore>>>);

impl Authorities {
    async fn of_node(&self) -> Arc<RootCertStore> {
        let read = || async {
            let read = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs).await;
            let mut store = RootCertStore::empty();
            if let Ok(found) = read {
                let (taken, passed_over) = store.add_parsable_certificates(found.certs);
                let errors = found.errors.len();
                tracing::debug!(taken, passed_over, errors, "authorities of the node");
            }
            Arc::new(store)
        };
        Arc::clone(self.0.get_or_init(read).await)
    }
}

/// Agrees on TLS with the server at `address`. Nothing is remembered from one probe to the next.
pub(super) async fn handshake(
    stream: TcpStream,
    address: IpAddr,
    tls: &CheckedTls,
    protocol: &[u8],
    authorities: &Authorities,
) -> io::Result<TlsStream<TcpStream>> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().map_err(io::Error::other)?;
    let mut config = if tls.verify {
        let roots = match &tls.authorities {
            Some(certificates) => {
                let mut store = RootCertStore::empty();
                store.add_parsable_certificates(certificates.iter().cloned());
                Arc::new(store)
            }
            None => authorities.of_node().await,
        };
        builder.with_root_certificates(roots).with_no_client_auth()
    } else {
        let any = Arc::new(AnyCertificate(provider));
        builder.dangerous().with_custom_certificate_verifier(any).with_no_client_auth()
    };
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![protocol.to_owned()];
    let name = match &tls.server_name {
        Some(name) => ServerName::DnsName(name.clone()),
        None => ServerName::IpAddress(address.into()),
    };
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// An error of a connection that may be TLS.
pub(super) fn explain(error: &io::Error, within: Duration) -> ProbeFailed {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(error) => ProbeFailed::Tls(words(error)),
        None => ProbeFailed::of(error.kind(), within),
    }
}

/// Takes every certificate; the server must still have its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

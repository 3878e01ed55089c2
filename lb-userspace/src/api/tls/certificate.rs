//! The server's certificate: given, or made here and signed by an authority of the agent's own.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use crate::config::Listen;

/// The certificate that clients have to trust, in PEM.
#[derive(Clone, Debug)]
pub struct Authority(pub String);

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum MakeCertificate {
    /// A file can't be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// A file is not PEM of the right kind.
    #[error("{path}: {message}; give certificates and keys in PEM")]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A certificate can't be made.
    #[error("no certificate can be made: {0}")]
    Make(#[from] rcgen::Error),
    /// Certificate and key are not good for TLS, or not for each other.
    #[error("the certificate can't be used: {0}")]
    Tls(#[from] rustls::Error),
    /// The clients' authority can't be used.
    #[error("{path}: {message}; give the certificates that sign those of clients")]
    Clients {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
}

/// The configuration of TLS, and the authority that clients have to trust.
pub(super) fn server(listen: &Listen) -> Result<(ServerConfig, Authority), MakeCertificate> {
    let (chain, key, authority) = match &listen.certificate {
        Some((certificate, key)) => {
            let authority = Authority(read(certificate)?);
            (certificates(certificate)?, private_key(key)?, authority)
        }
        None => made(listen)?,
    };
    let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?;
    let builder = match &listen.client_authority {
        None => builder.with_no_client_auth(),
        Some(path) => builder.with_client_cert_verifier(verifier(path)?),
    };
    let mut config = builder.with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((config, authority))
}

/// Certificates are asked for, not demanded: tokens do as well.
fn verifier(path: &Path) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, MakeCertificate> {
    let wrong = |message: String| MakeCertificate::Clients { path: path.into(), message };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(default_provider()))
        .allow_unauthenticated()
        .build()
        .map_err(|error| wrong(error.to_string()))
}

type Made = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>, Authority);

/// A certificate for this start, signed by the authority that is kept: clients go on trusting it.
fn made(listen: &Listen) -> Result<Made, MakeCertificate> {
    let key = authority_key(&listen.directory.join("authority.key"))?;
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    params.distinguished_name.push(DnType::CommonName, "lb");
    let path = listen.directory.join("authority.crt");
    let authority = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let text = params.self_signed(&key)?.pem();
            write(&path, &text)?;
            text
        }
        Err(source) => return Err(MakeCertificate::File { path, source }),
    };
    let issuer = Issuer::new(params, key);
    let own = KeyPair::generate()?;
    let mut params = CertificateParams::new(names(listen))?;
    params.distinguished_name.push(DnType::CommonName, "lb agent");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = params.signed_by(&own, &issuer)?;
    let key = PrivateKeyDer::Pkcs8(own.serialize_der().into());
    Ok((vec![certificate.der().clone()], key, Authority(authority)))
}

/// What clients may call the server.
fn names(listen: &Listen) -> Vec<String> {
    let mut names = vec!["localhost".to_owned(), IpAddr::from([127, 0, 0, 1]).to_string()];
    let address = listen.address.ip();
    let more = (!address.is_unspecified()).then(|| address.to_string());
    for name in more.into_iter().chain(listen.names.iter().cloned()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn authority_key(path: &Path) -> Result<KeyPair, MakeCertificate> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(KeyPair::from_pem(&text)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = KeyPair::generate()?;
            write(path, &key.serialize_pem())?;
            Ok(key)
        }
        Err(source) => Err(MakeCertificate::File { path: path.into(), source }),
    }
}

/// Writes a file that the owner alone may read, whole or not at all.
fn write(path: &Path, text: &str) -> Result<(), MakeCertificate> {
    use std::io::Write as _;
    let write = || -> io::Result<()> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let fresh = path.with_extension("new");
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&fresh, path)
    };
    write().map_err(|source| MakeCertificate::File { path: path.into(), source })
}

fn read(path: &Path) -> Result<String, MakeCertificate> {
    fs::read_to_string(path).map_err(|source| MakeCertificate::File { path: path.into(), source })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, MakeCertificate> {
    let wrong = |message: String| MakeCertificate::Pem { path: path.into(), message };
    let text = read(path)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    match all.map_err(|error| wrong(error.to_string()))? {
        none if none.is_empty() => Err(wrong("no certificate in it".into())),
        all => Ok(all),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, MakeCertificate> {
    PrivateKeyDer::from_pem_slice(read(path)?.as_bytes())
        .map_err(|error| MakeCertificate::Pem { path: path.into(), message: error.to_string() })
}

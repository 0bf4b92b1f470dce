//! Keys of `hanse up`: a certificate authority, one serving certificate for loopback, and an
//! administrator's token. Made once, kept in the data directory.

use std::path::Path;

use anyhow::{Context as _, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use serde::{Deserialize, Serialize};

/// Everything secret about one `hanse up`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Pki {
    /// The authority's certificate: what clients trust.
    pub(crate) authority: String,
    /// The serving certificate.
    pub(crate) certificate: String,
    /// Its key.
    pub(crate) key: String,
    /// The administrator's bearer token.
    pub(crate) token: String,
}

impl Pki {
    /// Reads the keys, or makes them.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub(crate) fn load(folder: &Path) -> Result<Self> {
        let path = folder.join("pki/keys.json");
        if path.exists() {
            let text = hanse_rt::disk::read(&path)?;
            return serde_json::from_slice(&text)
                .with_context(|| format!("{} does not parse; start with --fresh", path.display()));
        }
        let made = Self::make().context("keys cannot be made")?;
        hanse_rt::disk::write_atomically(&path, &serde_json::to_vec(&made)?)?;
        Ok(made)
    }

    fn make() -> Result<Self, rcgen::Error> {
        let mut authority = CertificateParams::default();
        authority.distinguished_name.push(DnType::CommonName, "hanse up");
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let authority_key = KeyPair::generate()?;
        let root = authority.self_signed(&authority_key)?;
        let issuer = Issuer::new(authority, authority_key);
        let mut server = CertificateParams::new(vec!["localhost".to_owned()])?;
        server.subject_alt_names.push(SanType::IpAddress(std::net::Ipv4Addr::LOCALHOST.into()));
        server.distinguished_name.push(DnType::CommonName, "hanse api");
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate()?;
        let certificate = server.signed_by(&key, &issuer)?;
        Ok(Self {
            authority: root.pem(),
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            token: hanse_rt::rng::secret_token(),
        })
    }
}

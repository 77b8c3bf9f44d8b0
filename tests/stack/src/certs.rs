//! The cluster's certificate authority and the kubeconfigs of its users.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};
use serde_json::json;

use crate::error::{Error, write};

/// The authority that signs the API server's certificate and the users'.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    folder: PathBuf,
}

/// Where a certificate and its key are.
pub(crate) struct Pair {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Authority {
    /// A new authority whose files are in `folder`.
    pub(crate) fn new(folder: &Path) -> Result<Self, Error> {
        let mut params = CertificateParams::new(Vec::new()).map_err(failed)?;
        params.distinguished_name.push(DnType::CommonName, "volwarden-stack");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = params.self_signed(&key).map_err(failed)?;
        write(&folder.join("ca.crt"), certificate.pem())?;
        Ok(Self { issuer: Issuer::new(params, key), folder: folder.to_owned() })
    }

    /// The authority's own certificate.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    /// The certificate of a server on 127.0.0.1 that is also known under these names.
    pub(crate) fn server(&self, server: &str, names: &[&str]) -> Result<Pair, Error> {
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).map_err(failed)?;
        params.subject_alt_names.push(SanType::IpAddress(Ipv4Addr::LOCALHOST.into()));
        params.distinguished_name.push(DnType::CommonName, server);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(params, server)
    }

    /// The private and the public key of service account tokens.
    pub(crate) fn token_keys(&self) -> Result<(PathBuf, PathBuf), Error> {
        let (private, public) = (self.folder.join("service-accounts.key"), self.folder.join("service-accounts.pub"));
        let key = KeyPair::generate().map_err(failed)?;
        write(&private, key.serialize_pem())?;
        write(&public, key.public_key_pem())?;
        Ok((private, public))
    }

    /// The client certificate of a user.
    pub(crate) fn user(&self, user: &str, groups: &[&str]) -> Result<Pair, Error> {
        if user.is_empty() || user.contains('/') {
            return Err(Error::other(format!("'{user}' cannot be a user's name here: it must be a file's name")));
        }
        let mut params = CertificateParams::new(Vec::new()).map_err(failed)?;
        params.distinguished_name.push(DnType::CommonName, user);
        match groups {
            [] => {}
            [group] => params.distinguished_name.push(DnType::OrganizationName, *group),
            _ => {
                let text = format!(
                    "{user}'s certificate can carry one group here, not {}: bind roles to the user",
                    groups.len()
                );
                return Err(Error::Other(text));
            }
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params, &format!("user-{user}"))
    }

    /// Writes the kubeconfig of a user who shows a client certificate.
    pub(crate) fn kubeconfig(&self, server: &str, user: &str, groups: &[&str]) -> Result<PathBuf, Error> {
        let pair = self.user(user, groups)?;
        let path = self.folder.join(format!("user-{user}.kubeconfig"));
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "stack",
            "clusters": [{"name": "stack", "cluster": {"server": server, "certificate-authority": self.certificate()}}],
            "users": [{"name": user, "user": {"client-certificate": pair.certificate, "client-key": pair.key}}],
            "contexts": [{"name": "stack", "context": {"cluster": "stack", "user": user}}],
        });
        write(&path, config.to_string())?;
        Ok(path)
    }

    fn sign(&self, mut params: CertificateParams, name: &str) -> Result<Pair, Error> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed)?;
        let pair =
            Pair { certificate: self.folder.join(format!("{name}.crt")), key: self.folder.join(format!("{name}.key")) };
        write(&pair.certificate, certificate.pem())?;
        write(&pair.key, key.serialize_pem())?;
        Ok(pair)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn failed(error: rcgen::Error) -> Error {
    Error::other(format!("cannot make a certificate: {error}"))
}

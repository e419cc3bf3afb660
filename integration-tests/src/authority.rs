//! Certificates for tests.

use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use statehouse_contracts::{Error, Result};

/// An authority that signs certificates.
#[derive(Debug)]
pub struct Authority {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new one.
    ///
    /// # Errors
    /// [`Internal`](statehouse_contracts::ErrorKind::Internal). So for [`signs`](Self::signs).
    pub fn new(name: &str) -> Result<Self> {
        let mut parameters = CertificateParams::new(Vec::new()).map_err(failed)?;
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().map_err(failed)?;
        Ok(Self {
            certificate: parameters.self_signed(&key).map_err(failed)?,
            issuer: Issuer::new(parameters, key),
        })
    }

    /// Its certificate as PEM, for who shall trust it.
    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// A certificate for `name` and its key, both as PEM.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn signs(&self, name: &str) -> Result<(String, String)> {
        let key = KeyPair::generate().map_err(failed)?;
        let mut parameters = CertificateParams::new(vec![name.to_owned()]).map_err(failed)?;
        parameters.distinguished_name.push(DnType::CommonName, name);
        let signed = parameters.signed_by(&key, &self.issuer).map_err(failed)?;
        Ok((signed.pem(), key.serialize_pem()))
    }
}

fn failed(error: rcgen::Error) -> Error {
    Error::internal(format!("a certificate cannot be made: {error}"))
}

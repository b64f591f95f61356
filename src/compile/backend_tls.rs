//! TLS to pods: which Secrets a backend needs for it, and what comes of them.

use super::backend_trust::Trust;
use super::links::{Cause, User};
use super::secrets::{Authorities, Validity, validity};
use super::{Key, State, certificate};
use crate::dialect::openshift::SERVICE_CA;
use crate::dialect::reading::BackendKey;
use crate::model::Code;
use crate::model::object::Secret;
use crate::table::backend::tls_wanted;
use crate::table::{BackendSettings, BackendTls, Ingredients, OnlyVersion};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore};
use smallvec::SmallVec;
use std::sync::{Arc, LazyLock};

/// One provider for all.
static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));

/// The Secrets a backend needs.
pub(super) type Needed = SmallVec<[Key; 2]>;

/// What is wrong: a word for what kind of thing, the annotation, and a sentence.
pub(super) type TlsProblem = (Code, &'static str, String);

/// What is found out about TLS to a backend's pods.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// What is spoken; none where it is none, or cannot be.
    pub tls: Option<Arc<BackendTls>>,
    /// Whether it is to be spoken.
    pub wanted: bool,
    /// What is wrong, though an older version of it may still be in use.
    pub faults: Vec<TlsProblem>,
}

/// The annotations, as diagnostics name them.
const CA: &str = "backend-ca-secret";
const CLIENT: &str = "backend-client-secret";
const NAME: &str = "backend-server-name";
pub(super) const VERIFY: &str = "backend-verify";

impl State {
    /// The Secrets that a backend needs as it is now.
    pub(super) fn tls_secrets(&self, key: &BackendKey) -> Needed {
        let mut needed = Needed::new();
        let settings = self.backend_settings(key);
        if tls_wanted(&settings, self.app_protocol(key).as_deref()).is_some() {
            let named = settings.ca_secret.iter().chain(&settings.client_secret);
            needed.extend(named.map(|name| secret_of(key, name)));
        }
        needed
    }

    fn app_protocol(&self, key: &BackendKey) -> Option<Arc<str>> {
        let service = self.service(&key.service_key())?;
        let port = super::backends::find_port(service, &key.port)?;
        port.app_protocol.as_deref().map(Arc::from)
    }

    /// The name of a host outside of the cluster that a backend's Service stands for.
    pub(super) fn external_name(&self, key: &BackendKey) -> Option<&str> {
        let service = self.service(&key.service_key())?;
        service.external_name.as_deref()
    }

    /// Reads the Secrets a backend needs, and notes that it does. Gives back which they are.
    pub(super) fn need_tls(&mut self, key: &BackendKey, slot: u32, before: &Needed) -> Needed {
        let needed = self.tls_secrets(key);
        for secret in &needed {
            self.secrets.need(secret);
        }
        let causes = |secrets: &Needed| secrets.iter().cloned().map(Cause::secret).collect();
        self.links
            .relink(&causes(before), &causes(&needed), User::Backend(slot));
        needed
    }

    /// A Secret changed: the backends that need it are resolved again.
    pub(super) fn tls_secret_changed(&mut self, secret: &Key) {
        for key in self.backends_using(&Cause::secret(secret.clone())) {
            self.resolve_again(&key);
            self.settle_pods(&key.service_key());
        }
    }

    /// TLS to a backend's pods. What it was before is kept where nothing that it is made of differs.
    pub(super) fn find_tls(&self, key: &BackendKey, settings: &BackendSettings, app_protocol: Option<&str>) -> Found {
        let Some(http2) = tls_wanted(settings, app_protocol) else {
            return Found::default();
        };
        let mut found = Found {
            wanted: true,
            ..Found::default()
        };
        if let Some(ingredients) = self.ingredients(key, settings, http2, &mut found.faults) {
            found.tls = self.known_tls(key, &ingredients.0);
            if found.tls.is_none() {
                match self.make_tls(ingredients) {
                    Ok(tls) => found.tls = Some(Arc::new(tls)),
                    Err(fault) => found.faults.push(fault),
                }
            }
        }
        found
    }

    /// TLS that is made of just this and in use already, by this backend or another of its Service.
    fn known_tls(&self, key: &BackendKey, made_of: &Ingredients) -> Option<Arc<BackendTls>> {
        let own = self.backend(key).and_then(|backend| backend.tls.as_ref());
        let service = key.service_key();
        let terms = self.pods_of(&service).flat_map(|set| &set.terms);
        let mut known = own.into_iter().chain(terms.filter_map(|terms| terms.tls.as_ref()));
        known.find(|known| known.made_of == *made_of).cloned()
    }

    /// What TLS to these pods is made of; none where something is missing.
    fn ingredients(
        &self,
        key: &BackendKey,
        settings: &BackendSettings,
        http2: bool,
        faults: &mut Vec<TlsProblem>,
    ) -> Option<(Ingredients, Option<Arc<Authorities>>)> {
        let verify = settings.verify.unwrap_or(true);
        let of = |name: &Arc<str>| secret_of(key, name);
        let authorities = match settings.ca_secret.as_ref().filter(|_| verify).map(of) {
            None => None,
            Some(secret) => {
                let known = self.secrets.get(&secret);
                let fault = known.map(|known| known.authorities_fault());
                self.note_fault(
                    &secret,
                    CA,
                    fault,
                    known.is_some_and(|known| known.authorities().is_some()),
                    faults,
                );
                Some(known?.authorities()?.clone())
            }
        };
        let shown = match settings.client_secret.as_ref().map(of) {
            None => None,
            Some(secret) => {
                let known = self.secrets.get(&secret);
                let fault = known.map(|known| known.fault());
                self.note_fault(
                    &secret,
                    CLIENT,
                    fault,
                    known.is_some_and(|known| known.certificate().is_some()),
                    faults,
                );
                let known = known?;
                let expiry = match validity(known.certificate()?, self.now) {
                    Validity::Valid => None,
                    Validity::Expired => Some((Code::CertificateExpired, "has expired")),
                    Validity::NotYet => Some((Code::CertificateNotYetValid, "is not valid yet")),
                };
                faults.extend(expiry.map(|(code, how)| {
                    let message = format!(
                        "the certificate of Secret \"{}\" {how}, so pods may refuse it",
                        secret.1
                    );
                    (code, CLIENT, message)
                }));
                let secret = known.secret_in_use();
                Some((secret.certificate.clone()?, secret.key.clone()?))
            }
        };
        let server_name = match &settings.server_name {
            Some(name) => name.to_string(),
            None => match self.external_name(key) {
                Some(name) => name.trim_end_matches('.').to_owned(),
                None => format!("{}.{}.svc", key.service, key.namespace),
            },
        };
        let ingredients = Ingredients {
            server_name,
            http2,
            verify,
            authorities: authorities.as_ref().map(|authorities| authorities.pem.clone()),
            shown,
            version: settings.tls_version,
            suites: settings.cipher_suites,
        };
        Some((ingredients, authorities))
    }

    /// Says what is wrong with a Secret that is needed: that it is not there, or what `fault` says.
    fn note_fault(
        &self,
        (namespace, name): &Key,
        annotation: &'static str,
        fault: Option<Option<&str>>,
        in_use: bool,
        faults: &mut Vec<TlsProblem>,
    ) {
        match fault {
            None => {
                let (code, message) = self.no_secret(namespace, name);
                faults.push((code, annotation, message));
            }
            Some(Some(fault)) => {
                let stays = if in_use {
                    "; its last good content stays in use"
                } else {
                    ""
                };
                faults.push((Code::InvalidCertificate, annotation, format!("{fault}{stays}")));
            }
            Some(None) => {}
        }
    }

    fn make_tls(
        &self,
        (made_of, authorities): (Ingredients, Option<Arc<Authorities>>),
    ) -> Result<BackendTls, TlsProblem> {
        let wrong = |annotation, why: String| (Code::InvalidCertificate, annotation, why);
        let server_name = ServerName::try_from(made_of.server_name.clone()).map_err(|_| {
            wrong(
                NAME,
                format!("\"{}\" is neither a DNS name nor an address", made_of.server_name),
            )
        })?;
        let provider = match made_of.suites {
            None => PROVIDER.clone(),
            Some(suites) => suites.of(&PROVIDER),
        };
        let (old, new) = ([&TLS12], [&TLS13]);
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(match made_of.version {
                None => rustls::DEFAULT_VERSIONS,
                Some(OnlyVersion::Tls12) => &old,
                Some(OnlyVersion::Tls13) => &new,
            })
            .map_err(|error| wrong(CA, error.to_string()))?;
        let builder = match authorities.filter(|_| made_of.verify) {
            Some(authorities) => {
                let trust = Trust::by(&authorities, &PROVIDER).map_err(|why| wrong(CA, why))?;
                builder.dangerous().with_custom_certificate_verifier(Arc::new(trust))
            }
            None if !made_of.verify => {
                let trust = Trust::any(&PROVIDER);
                builder.dangerous().with_custom_certificate_verifier(Arc::new(trust))
            }
            None if self.options.system_roots.is_empty() => {
                let why =
                    "this system has no certificate authorities, so narthex cannot trust any certificate of a pod";
                return Err(wrong(CA, why.to_owned()));
            }
            None => builder.with_root_certificates(self.options.system_roots.clone()),
        };
        let mut config = match &made_of.shown {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let (chain, key) = certificate::chain_and_key(certificate, key).map_err(|why| wrong(CLIENT, why))?;
                let shown = builder.with_client_auth_cert(chain, key);
                shown.map_err(|error| wrong(CLIENT, error.to_string()))?
            }
        };
        let protocol: &[u8] = if made_of.http2 { b"h2" } else { b"http/1.1" };
        config.alpn_protocols = vec![protocol.to_vec()];
        Ok(BackendTls {
            server_name,
            http2: made_of.http2,
            config: Arc::new(config),
            made_of,
        })
    }
}

/// Authorities in PEM that can be used.
///
/// # Errors
/// Says what is wrong with them.
pub fn checked_authorities(pem: Arc<[u8]>) -> Result<Arc<[u8]>, String> {
    let secret = Secret {
        ca: Some(pem.clone()),
        ..Secret::default()
    };
    let read = certificate::authorities(&secret);
    read.map(|_| pem)
        .map_err(|why| why.replace("ca.crt of Secret \"\" ", ""))
}

/// A Secret that a backend needs: of its own namespace, but for the authorities of a flag.
fn secret_of(key: &BackendKey, name: &Arc<str>) -> Key {
    let namespace = if **name == *SERVICE_CA {
        Arc::default()
    } else {
        key.namespace.clone()
    };
    (namespace, name.clone())
}

/// The system's authorities; for who starts the program.
pub fn system_roots() -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    // What cannot be read is not trusted; where nothing can, backends say so.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    Arc::new(roots)
}

//! What is to be said of an Ingress's `spec.tls`, given all others.

use crate::compile::certificate::list_names;
use crate::compile::offers::{Grade, Rank};
use crate::compile::secrets::{Validity, validity};
use crate::compile::{Key, State, backend_tls};
use crate::dialect::reading::{BackendKey, TlsEntry};
use crate::model::{Code, Diagnostic, ObjectRef, Seniority};
use crate::table::{BackendState, Certificate, HostPattern};

/// An object, and where it stands among others.
type Whose<'i> = (&'i ObjectRef, Seniority);

impl State {
    /// What is to be said of TLS to the pods of a backend.
    pub(super) fn diagnose_backend_tls(
        &self,
        object: &ObjectRef,
        key: &BackendKey,
        field: &str,
        said: &mut Vec<Diagnostic>,
    ) {
        let Some(backend) = self.backend(key) else { return };
        let found = self.find_tls(key, &backend.settings, backend.app_protocol.as_deref());
        let mut say = |code, annotation: &str, message: String| {
            // On the object that carries it, where that is this one; else by name.
            let ours = backend.asked.as_ref().is_some_and(|asked| asked.names(annotation));
            let (field, whose) = if ours {
                (format!("annotation narthex.io/{annotation}"), String::new())
            } else {
                (
                    field.to_owned(),
                    format!("Service \"{}\", annotation narthex.io/{annotation}: ", key.service),
                )
            };
            said.push(Diagnostic::new(code, object, field, format!("{whose}{message}")));
        };
        let unready = if backend.state == BackendState::TlsUnready {
            "; requests get 503"
        } else {
            ""
        };
        for (code, annotation, message) in found.faults {
            say(code, annotation, format!("{message}{unready}"));
        }
        if found.wanted && backend.settings.verify == Some(false) {
            let message = "the pods' certificates are not verified, so anybody between narthex and the pods can read and change the traffic";
            say(Code::BackendNotVerified, backend_tls::VERIFY, message.to_owned());
        }
    }

    /// What is to be said of one of `spec.tls`. `redirected` tells whether its hosts send plain HTTP to HTTPS.
    pub(super) fn diagnose_tls(
        &self,
        whose: Whose<'_>,
        entry: &TlsEntry,
        redirected: bool,
        said: &mut Vec<Diagnostic>,
    ) {
        let object = whose.0;
        let secret: Key = (object.namespace.clone(), entry.secret.clone());
        let secret_field = entry.secret_field();
        if !entry.secret.is_empty() {
            for (mut code, mut message) in self.diagnose_certificate(&secret) {
                let no_certificate = self.secrets.certificate(&secret).is_none();
                if matches!(code, Code::SecretNotFound | Code::SecretMisnamed) && entry.issued {
                    code = Code::CertificateNotIssued;
                    message.push_str(" yet: cert-manager makes it");
                }
                message.push_str(match code {
                    Code::SecretNotFound
                    | Code::SecretMisnamed
                    | Code::CertificateNotIssued
                    | Code::InvalidCertificate
                        if no_certificate =>
                    {
                        self.instead(entry, redirected)
                    }
                    Code::CertificateExpired => "; clients refuse it",
                    Code::CertificateNotYetValid => "; until then clients refuse it",
                    _ => "",
                });
                said.push(Diagnostic::new(code, object, &secret_field, message));
            }
        } else if !entry.hosts.is_empty() && self.is_bare(entry) {
            let message = format!(
                "it names no Secret, and there is no --default-certificate{}: set secretName to the Secret with the certificate",
                self.instead(entry, redirected)
            );
            said.push(Diagnostic::new(Code::NoCertificate, object, &secret_field, message));
        }
        let certificate = self.secrets.certificate(&secret).map(|certificate| &**certificate);
        let mut say = |field: String, (code, message): (Code, String)| {
            said.push(Diagnostic::new(code, object, field, message));
        };
        for (place, host) in &entry.hosts {
            let field = entry.host_field(*place);
            // That it has yielded to others is said of its rules.
            if whose.1.leaving {
                continue;
            }
            if let Some(stranger) = self.stranger(object, host) {
                say(field, stranger);
                continue;
            }
            let Some(certificate) = certificate else { continue };
            if !certificate.covers(host) {
                let message = format!(
                    "the certificate of Secret \"{}\" is for {}, not for {host}",
                    entry.secret,
                    list_names(certificate)
                );
                say(field.clone(), (Code::CertificateNameMismatch, message));
            }
            if let Some(conflict) = self.conflict(whose, entry, host, certificate) {
                say(field, conflict);
            }
        }
        if let Some(certificate) = certificate.filter(|_| entry.whole) {
            for name in &certificate.names {
                // A name nobody listed is no mistake where it is another's.
                let owned = self.options.host_owners.against(&object.namespace, name).is_some();
                if !owned
                    && self.stranger(object, name).is_none()
                    && let Some(conflict) = self.conflict(whose, entry, name, certificate)
                {
                    say(secret_field.clone(), conflict);
                }
            }
        }
    }

    /// What the hosts of an entry get that has no certificate.
    fn instead(&self, entry: &TlsEntry, redirected: bool) -> &'static str {
        if self.options.default_certificate.is_some() {
            "; its hosts get the default certificate"
        } else if !self.is_bare(entry) {
            "; its hosts get the certificate of another entry"
        } else if redirected {
            "; plain HTTP is still redirected to HTTPS, where its hosts get narthex's self-signed certificate, \
             which clients refuse"
        } else {
            "; its hosts get narthex's self-signed certificate, which clients refuse"
        }
    }

    /// Whether a host of an entry has no certificate at all.
    fn is_bare(&self, entry: &TlsEntry) -> bool {
        let has_one = |host: &HostPattern| match host {
            HostPattern::Exact(name) => self.table.certificates(Some(name)).is_some(),
            HostPattern::Wildcard(suffix) => self.table.certificates(Some(&format!("*.{suffix}"))).is_some(),
            HostPattern::Any => false,
        };
        self.options.default_certificate.is_none() && !entry.hosts.iter().all(|(_, host)| has_one(host))
    }

    /// The owner of a host, where it lives in another namespace than the Ingress.
    fn stranger(&self, object: &ObjectRef, host: &HostPattern) -> Option<(Code, String)> {
        let owner = self.offers.name(host)?.owner.as_ref()?;
        if owner.namespace == object.namespace {
            return None;
        }
        let owner_object = owner.object();
        Some((
            Code::HostOfOtherNamespace,
            format!(
                "{host} belongs to namespace \"{}\", where {owner_object} has the oldest rule for it: only \
                 certificates of that namespace are used for it",
                owner.namespace
            ),
        ))
    }

    /// The certificate that a host has instead of an entry's, where both are as good and have the same kind of
    /// key. What makes one worse is said by itself.
    fn conflict(
        &self,
        (object, seniority): Whose<'_>,
        entry: &TlsEntry,
        host: &HostPattern,
        certificate: &Certificate,
    ) -> Option<(Code, String)> {
        let secret = (object.namespace.clone(), entry.secret.clone());
        let deleting = self
            .secrets
            .get(&secret)
            .is_some_and(|known| known.secret.meta.deleting);
        let grade = Grade {
            mismatched: !certificate.covers(host),
            out_of_time: validity(certificate, self.now) != Validity::Valid,
            leaving: seniority.leaving || deleting,
            implicit: false,
        };
        let algorithm = u16::from(u8::from(certificate.algorithm));
        let chosen = &self.offers.name(host)?.chosen;
        let winner = chosen.iter().find(|rank| rank.algorithm == algorithm)?;
        let same = winner.namespace == object.namespace && winner.secret == entry.secret;
        if same || winner.grade != grade {
            return None;
        }
        Some((
            Code::CertificateConflict,
            format!(
                "{host} already has the certificate of Secret \"{}\" from {}; the certificate of Secret \"{}\" is not used for it",
                winner.secret,
                winner_text(winner, (object, seniority), entry),
                entry.secret
            ),
        ))
    }
}

/// Writes of what stands for the certificates of a Route as what it is.
pub(super) fn name_routes(message: &mut String) {
    const OWN: &str = "Secret \"~";
    while let Some(at) = message.find(OWN) {
        let behind = message.get(at + OWN.len()..).unwrap_or_default();
        let Some(length) = behind.find('"') else { return };
        let end = at + OWN.len() + length + 1;
        let name = behind.get(..length).unwrap_or_default().to_owned();
        let fields = [
            ("tls.crt of ", "spec.tls.certificate"),
            ("tls.key of ", "spec.tls.key"),
            ("ca.crt of ", "spec.tls.destinationCACertificate"),
        ];
        let before = message.get(..at).unwrap_or_default();
        let field = fields.iter().find(|(entry, _)| before.ends_with(entry));
        match field {
            Some((entry, field)) => {
                message.replace_range(at - entry.len()..end, &format!("{field} of Route \"{name}\""))
            }
            None => message.replace_range(at..end, &format!("Route \"{name}\"")),
        }
    }
}

/// Who offers what was taken, and why that counts.
fn winner_text(winner: &Rank, (object, seniority): Whose<'_>, entry: &TlsEntry) -> String {
    let by = &winner.by;
    let (winning, index) = (by.object(&winner.namespace), by.entry);
    if winning == *object {
        return format!("spec.tls[{index}], which comes before {}", entry.field());
    }
    let why = if by.seniority < seniority {
        "is older"
    } else {
        "is as old and comes first by namespace and name"
    };
    format!("{winning} (spec.tls[{index}]), which {why}")
}

//! What a host asks of the TLS connections of its clients, and what a client has shown.
//!
//! A connection gets the profile of the name in its handshake. A request for a host of another profile is misdirected, and
//! a certificate counts only under the profile that it was verified by.

mod name;
mod terms;
mod verify;

pub use terms::{CipherSuites, TlsTerms};
use verify::Unverified;
pub use verify::{Authorities, public_key};

use super::decide::Refusal;
use super::guard::Guard;
use super::patterns::PathRegex;
use super::steps::Template;
use crate::model::ObjectRef;
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, UnixTime};
use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// TLS as one or several hosts have it.
pub struct TlsProfile {
    /// What it is made of.
    pub made_of: ProfileParts,
    /// Whom clients' certificates are verified by; absent where clients are asked for none.
    pub authorities: Option<Authorities>,
    /// What rustls makes handshakes with, once there was one.
    config: OnceLock<Option<Arc<ServerConfig>>>,
}

/// What a profile is made of: of the same parts comes the same profile.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProfileParts {
    /// The versions and suites.
    pub terms: TlsTerms,
    /// What clients' certificates are verified by; absent where clients are asked for none.
    pub clients: Option<ClientParts>,
}

/// What clients' certificates are verified by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientParts {
    /// The Secret with the authorities.
    pub secret: ObjectRef,
    /// Its `ca.crt`, in PEM.
    pub authorities: Arc<[u8]>,
    /// Its `ca.crl`, in PEM.
    pub revoked: Option<Arc<[u8]>>,
    pub verify: Verify,
    /// How many certificates may stand between a client's and that of an authority.
    pub depth: u32,
}

/// What becomes of clients without a certificate that can be verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Verify {
    /// They are refused.
    #[default]
    Required,
    /// Those that show none are served.
    Optional,
    /// Those whose certificate is by an unknown authority are served too.
    OptionalNoCa,
}

impl TlsProfile {
    /// A profile that no client has met.
    pub fn new(made_of: ProfileParts, authorities: Option<Authorities>) -> Self {
        Self {
            made_of,
            authorities,
            config: OnceLock::new(),
        }
    }

    /// What rustls makes handshakes with; `make` says it the first time. Absent if that failed.
    pub fn config(&self, make: impl FnOnce() -> Option<Arc<ServerConfig>>) -> Option<&Arc<ServerConfig>> {
        self.config.get_or_init(make).as_ref()
    }

    /// What a client has shown in its handshake: a chain, its own certificate first, or none.
    pub fn look_at(self: &Arc<Self>, chain: &[CertificateDer<'_>], now: UnixTime) -> Presented {
        let certificate = chain.first().map(|der| ClientCertificate::new(der));
        let by = self.authorities.as_ref().zip(self.made_of.clients.as_ref());
        let result = match (chain, by) {
            ([], _) | (_, None) => Shown::Nothing,
            ([leaf, others @ ..], Some((authorities, parts))) => {
                match authorities.verify(leaf, others, parts.depth, now) {
                    Ok(()) => Shown::Verified,
                    Err(why) => Shown::Unverified(why),
                }
            }
        };
        Presented {
            profile: self.clone(),
            result,
            certificate,
        }
    }

    /// What a client would have shown that has a certificate with this subject which can be verified, or that has none.
    pub fn suppose(self: &Arc<Self>, subject: Option<&str>) -> Presented {
        let subject = subject.filter(|_| self.made_of.clients.is_some());
        let certificate = subject.map(|subject| ClientCertificate {
            der: Box::default(),
            subject: subject.into(),
            issuer: Box::default(),
        });
        Presented {
            profile: self.clone(),
            result: if certificate.is_some() {
                Shown::Verified
            } else {
                Shown::Nothing
            },
            certificate,
        }
    }
}

impl TlsProfile {
    /// What becomes of clients without a certificate; absent where they are asked for none.
    pub fn verify(&self) -> Option<Verify> {
        self.made_of.clients.as_ref().map(|clients| clients.verify)
    }
}

impl fmt::Debug for TlsProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsProfile")
            .field("terms", &self.made_of.terms)
            .field("secret", &self.made_of.clients.as_ref().map(|clients| &clients.secret))
            .finish_non_exhaustive()
    }
}

/// What a client has shown of itself in the handshake of its connection.
#[derive(Debug)]
pub struct Presented {
    /// The profile of its connection.
    pub profile: Arc<TlsProfile>,
    pub result: Shown,
    /// Its certificate, also where that could not be verified.
    pub certificate: Option<ClientCertificate>,
}

/// What came of a client's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    Nothing,
    Verified,
    Unverified(Unverified),
}

/// A client's certificate, as pods are told of it.
#[derive(Debug)]
pub struct ClientCertificate {
    der: Box<[u8]>,
    /// Whose it is, as RFC 2253 writes it.
    pub subject: Box<str>,
    /// Who has signed it, likewise.
    pub issuer: Box<str>,
}

impl ClientCertificate {
    fn new(der: &CertificateDer<'_>) -> Self {
        let (subject, issuer) = name::subject_and_issuer(der);
        Self {
            der: der.as_ref().into(),
            subject,
            issuer,
        }
    }

    /// The certificate in DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The certificate in PEM, escaped as part of a URL.
    pub fn escaped_pem(&self) -> String {
        use base64::Engine;
        let text = base64::engine::general_purpose::STANDARD.encode(&self.der);
        let mut out = String::with_capacity(text.len() * 2);
        let mut write = |part: &str| out += &super::steps::escaped(part);
        write("-----BEGIN CERTIFICATE-----\n");
        let mut rest = text.as_str();
        while let Some((line, more)) = rest.split_at_checked(64) {
            write(line);
            write("\n");
            rest = more;
        }
        if !rest.is_empty() {
            write(rest);
            write("\n");
        }
        write("-----END CERTIFICATE-----\n");
        out
    }
}

impl Presented {
    /// What came of the client's certificate, in the words of nginx: `NONE`, `SUCCESS`, or `FAILED:` and the reason.
    pub fn verdict(&self) -> Cow<'static, str> {
        match self.result {
            Shown::Nothing => Cow::Borrowed(NOTHING),
            Shown::Verified => Cow::Borrowed("SUCCESS"),
            Shown::Unverified(why) => Cow::Owned(format!("FAILED:{why}")),
        }
    }
}

/// What nginx says of a client without a certificate.
pub const NOTHING: &str = "NONE";

/// What a host asks of its clients.
#[derive(Clone, Debug)]
pub struct ClientRules {
    /// Who asks for it, and where.
    pub guard: Arc<Guard>,
    pub tls: HostTls,
    /// What a client's certificate has to say of whose it is.
    pub subject: Option<SubjectPattern>,
    /// Where clients are sent that have no certificate which can be verified.
    pub error_page: Option<Arc<Template>>,
    /// Whether pods are told what came of it.
    pub told: bool,
    /// Whether pods are told the certificate.
    pub passed: bool,
    /// The objects whose routes are closed, because they ask for something else than the host does.
    pub closed: Box<[Arc<Guard>]>,
}

/// TLS of a host's connections.
#[derive(Clone, Debug)]
pub enum HostTls {
    /// That of hosts which ask for nothing.
    Usual,
    Profile(Arc<TlsProfile>),
    /// What it is made of is missing or cannot be read, so all routes are closed.
    Broken,
}

impl PartialEq for HostTls {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Profile(one), Self::Profile(other)) => Arc::ptr_eq(one, other),
            (Self::Usual, Self::Usual) | (Self::Broken, Self::Broken) => true,
            _ => false,
        }
    }
}

impl Eq for HostTls {}

impl PartialEq for ClientRules {
    fn eq(&self, other: &Self) -> bool {
        let of = |rules: &Self| {
            (
                rules.guard.clone(),
                rules.subject.clone(),
                rules.error_page.clone(),
                rules.told,
                rules.passed,
                rules.closed.clone(),
            )
        };
        self.tls == other.tls && of(self) == of(other)
    }
}

impl Eq for ClientRules {}

/// A regular expression over the subject of a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SubjectPattern(PathRegex);

impl SubjectPattern {
    /// An expression that fits anywhere in a subject, unless its text says `^` or `$`.
    ///
    /// # Errors
    /// Says in one line what is wrong with the text.
    pub fn anywhere(text: &str) -> Result<Self, String> {
        PathRegex::new(text).map(Self)
    }

    /// An expression that fits a whole subject.
    ///
    /// # Errors
    /// As [`SubjectPattern::anywhere`].
    pub fn whole(text: &str) -> Result<Self, String> {
        // What is wrong with the text alone must not become right by what is put around it.
        PathRegex::new(text)?;
        PathRegex::new(&format!("^(?:{text})$")).map(Self)
    }

    fn fits(&self, subject: &str) -> bool {
        self.0.fits(subject.as_bytes())
    }
}

impl ClientRules {
    /// The profile of the host's connections.
    pub fn profile(&self) -> Option<&Arc<TlsProfile>> {
        match &self.tls {
            HostTls::Profile(profile) => Some(profile),
            HostTls::Usual | HostTls::Broken => None,
        }
    }

    /// The guard that closes an object's routes, or all of them.
    pub fn closes(&self, object: Option<&ObjectRef>) -> Option<&Arc<Guard>> {
        match self.tls {
            HostTls::Broken => Some(&self.guard),
            HostTls::Usual | HostTls::Profile(_) => {
                let mut closed = self.closed.iter();
                closed.find(|guard| object.is_some_and(|object| guard.object == *object))
            }
        }
    }

    /// Whether a client without a certificate is served, by whatever way it comes.
    pub fn serves_anybody(&self) -> bool {
        let needs = |profile: &Arc<TlsProfile>| profile.verify() == Some(Verify::Required);
        self.subject.is_none() && !self.profile().is_some_and(needs)
    }

    /// Whether a client has shown what the host asks for. What it has shown under another profile does not count.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn admits(&self, shown: Option<&Presented>) -> Result<(), Refusal> {
        let shown = self.counts(shown);
        let verify = self.profile().and_then(|profile| profile.verify());
        match (verify, shown.map(|shown| shown.result)) {
            (Some(Verify::Required), None | Some(Shown::Nothing)) => return Err(Refusal::NoClientCertificate),
            (Some(Verify::OptionalNoCa), Some(Shown::Unverified(Unverified::UnknownIssuer))) => {}
            (_, Some(Shown::Unverified(_))) => return Err(Refusal::BadClientCertificate),
            (_, None | Some(Shown::Nothing | Shown::Verified)) => {}
        }
        let subject = shown.and_then(|shown| Some(&*shown.certificate.as_ref()?.subject));
        let fits = |pattern: &SubjectPattern| pattern.fits(subject.unwrap_or_default());
        match self.subject.as_ref().is_none_or(fits) {
            true => Ok(()),
            false => Err(Refusal::SubjectNotAllowed),
        }
    }

    /// What a client has shown, if that was under the profile of the host.
    pub fn counts<'s>(&self, shown: Option<&'s Presented>) -> Option<&'s Presented> {
        let profile = self.profile()?;
        shown.filter(|shown| Arc::ptr_eq(&shown.profile, profile))
    }
}

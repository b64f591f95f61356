//! What an object asks of the TLS connections of its clients, for the whole of its hosts. The Secret that it names is not
//! looked up yet.

use super::value::object_name;
use crate::table::{CipherSuites, SubjectPattern, Template, TlsTerms, Verify};
use std::sync::Arc;

/// How many certificates may stand between a client's and that of an authority where nothing is said.
const DEPTH: u32 = 1;

/// What is asked of clients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClientsWanted {
    /// The Secret with the authorities, in the namespace of the object, and the annotation that names it.
    pub secret: Option<(&'static str, Arc<str>)>,
    pub verify: VerifyWanted,
    depth: Option<u32>,
    /// What a certificate has to say of whose it is.
    pub subject: Option<SubjectPattern>,
    /// Where clients are sent that cannot show what is asked for.
    pub error_page: Option<Arc<Template>>,
    /// Whether pods get the certificate.
    pub passed: bool,
    /// An annotation that says who may come in, and cannot be read.
    pub broken: Option<&'static str>,
    /// An annotation that does nothing where no Secret is named.
    pub beside: Option<&'static str>,
    /// What connections have to use, and the annotation that asks for it first.
    pub terms: TermsWanted,
}

/// What is asked of the connections of clients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TermsWanted {
    pub terms: TlsTerms,
    /// The first annotation that asks for something.
    pub named_by: Option<&'static str>,
    /// One that cannot be read.
    pub broken: Option<&'static str>,
    /// Suites that narthex does not know, and the annotation that names them.
    pub unknown: Option<(&'static str, Box<str>)>,
}

impl TermsWanted {
    /// Reads the least version.
    pub fn least(&mut self, name: &'static str, text: &str) -> Result<(), String> {
        self.terms.only_13 = match text {
            "1.2" => false,
            "1.3" => true,
            other => {
                self.broken.get_or_insert(name);
                return Err(format!("\"{}\" is neither 1.2 nor 1.3", other.escape_debug()));
            }
        };
        if self.terms.only_13 {
            self.named_by.get_or_insert(name);
        }
        Ok(())
    }

    /// Reads a list of cipher suites.
    pub fn suites(&mut self, name: &'static str, text: &str) -> Result<(), String> {
        let list = CipherSuites::read(text).inspect_err(|_| {
            self.broken.get_or_insert(name);
        })?;
        self.terms.suites = Some(list.suites);
        self.named_by.get_or_insert(name);
        self.unknown = (!list.unknown.is_empty()).then(|| (name, list.unknown.join(", ").into()));
        Ok(())
    }

    /// The annotation that asks for something.
    pub fn asked_by(&self) -> Option<&'static str> {
        self.broken.or(self.named_by)
    }
}

/// What becomes of clients that show no certificate, or another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VerifyWanted {
    /// Nobody is asked for one.
    Off,
    As(Verify),
}

impl Default for VerifyWanted {
    fn default() -> Self {
        Self::As(Verify::Required)
    }
}

impl ClientsWanted {
    /// Whether clients are asked for something.
    pub fn is_asked(&self) -> bool {
        self.secret.is_some() || self.broken.is_some()
    }

    /// Whether something is asked of clients or of their connections.
    pub fn concerns_tls(&self) -> bool {
        self.is_asked() || self.terms.asked_by().is_some()
    }

    /// How many certificates may stand between a client's and that of an authority.
    pub fn depth(&self) -> u32 {
        self.depth.unwrap_or(DEPTH)
    }

    /// The annotation that asks for it.
    pub fn named_by(&self) -> &'static str {
        let secret = self.secret.as_ref().map(|(name, _)| *name);
        self.broken.or(secret).or(self.terms.asked_by()).unwrap_or_default()
    }

    /// Whether both ask for the same, by whichever annotations.
    pub fn asks_as(&self, other: &Self) -> bool {
        let of = |wanted: &Self| {
            let secret = wanted.secret.as_ref().map(|(_, secret)| secret.clone());
            let (verify, depth) = (wanted.verify, wanted.depth());
            (secret, verify, depth, wanted.subject.clone(), wanted.broken.is_some())
        };
        of(self) == of(other)
    }

    /// Reads an annotation that says who may come in. One that cannot be read closes the hosts.
    pub fn guarded(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&mut Self) -> Result<(), String>,
    ) -> Result<(), String> {
        self.beside.get_or_insert(name);
        let read = read(self);
        if read.is_err() {
            self.broken.get_or_insert(name);
        }
        read
    }

    /// Reads an annotation beside these.
    pub fn beside(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&mut Self) -> Result<(), String>,
    ) -> Result<(), String> {
        self.beside.get_or_insert(name);
        read(self)
    }

    /// Sets the number of certificates between a client's and that of an authority.
    pub fn set_depth(&mut self, depth: u32) {
        self.depth = Some(depth);
    }
}

/// `client-ca-secret`.
pub(super) fn authorities(wanted: &mut ClientsWanted, name: &'static str, text: &str) -> Result<(), String> {
    wanted.secret = Some((name, object_name(text)?));
    Ok(())
}

/// `client-verify`.
pub(super) fn verify(text: &str) -> Result<VerifyWanted, String> {
    match text {
        "required" => Ok(VerifyWanted::As(Verify::Required)),
        "optional" => Ok(VerifyWanted::As(Verify::Optional)),
        "optional-no-ca" => Ok(VerifyWanted::As(Verify::OptionalNoCa)),
        other => Err(format!("\"{other}\" is not one of required, optional, optional-no-ca")),
    }
}

/// A page elsewhere: on the same host, clients would be sent there for ever.
pub(super) fn error_page(text: &str) -> Result<Arc<Template>, String> {
    let wrong = |why: &str| format!("\"{text}\" {why}");
    if !(text.starts_with("https://") || text.starts_with("http://")) || text.contains(char::is_whitespace) {
        return Err(wrong("is not a URL that begins with http:// or https://"));
    }
    Template::new(text).map(Arc::new).map_err(|why| wrong(&why))
}

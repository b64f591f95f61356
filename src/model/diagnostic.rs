//! What is wrong with an object, in words that say what would be right.

use super::reference::ObjectRef;
use super::visible::{Keep, visible};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// Something the author asked for does not happen. `check` exits 1.
    Error,
    /// It works, but probably not as meant.
    Warning,
    /// Worth knowing; nothing to do.
    Info,
}

impl Severity {
    /// The lower-case word: `error`, `warning`, `info`.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "info",
        }
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident => $severity:ident,)*) => {
        /// What kind of problem: stable names, for Events, filters and tests.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code { $($(#[$doc])* $variant,)* }

        impl Code {
            /// Every code, for the documentation.
            pub const ALL: &'static [Code] = &[$(Code::$variant,)*];

            /// The name, as in an Event's reason: `BackendNotFound`.
            pub fn name(self) -> &'static str {
                match self { $(Code::$variant => stringify!($variant),)* }
            }

            /// How bad this kind of problem is.
            pub fn severity(self) -> Severity {
                match self { $(Code::$variant => Severity::$severity,)* }
            }
        }
    };
}

codes! {
    /// A file or document that does not parse.
    InvalidManifest => Error,
    /// An object whose fields do not fit its kind, or leave open what it means.
    InvalidObject => Error,
    /// A field that its kind does not have: ignored. `check` says it as an error, as `kubectl apply` does.
    UnknownField => Warning,
    /// A kind or version that does not exist: ignored. Likewise.
    UnknownKind => Warning,
    /// What `kubectl apply` and the API server refuse, although narthex makes do. Only `check` says it.
    NotAccepted => Error,
    /// A version of a kind that Kubernetes does not serve any more. Only `check` says it.
    OldVersion => Warning,
    /// A host in `spec.tls` that nearly is one of the rules' hosts. Only `check` says it.
    TlsHostUnused => Warning,
    /// A host that is not a DNS name, wildcard or IP literal.
    InvalidHost => Error,
    /// A path that is not absolute or cannot be put in canonical form.
    InvalidPath => Error,
    /// A pathType that is not one of the three.
    InvalidPathType => Error,
    /// networking.k8s.io/v1 wants a pathType.
    MissingPathType => Warning,
    /// An ImplementationSpecific path that looks like a regular expression: taken literally.
    PathTakenLiterally => Warning,
    /// A host whose paths are regular expressions because of another Ingress.
    PathsArePatterns => Info,
    /// A host whose clients need a certificate because of another Ingress.
    HostAsksForCertificates => Info,
    /// What an Ingress asks of the certificates of clients, on a host for which another one has asked first.
    ClientCertificatesConflict => Warning,
    /// A host whose oldest Ingress is of another class, with other rules for whole hosts.
    HostOfTwoDialects => Warning,
    /// Another name of a host that has rules of its own, or that another Ingress gives to its host.
    HostTaken => Warning,
    /// Another Ingress, older or earlier by name, has the same host and path.
    PathConflict => Error,
    /// Another Ingress has the place of one that is being deleted, or that has no ready endpoints under `--yield-empty`.
    PlaceYielded => Info,
    /// A canary without an Ingress beside it that has the same host and path: not served.
    CanaryAlone => Warning,
    /// The same host and path twice in one Ingress.
    DuplicatePath => Warning,
    /// A default backend another Ingress, older or earlier by name, already gives.
    DefaultBackendConflict => Warning,
    /// An exact host that lacks a path a wildcard or any-host rule answers: nginx would answer 404.
    FallsThrough => Warning,
    /// A backend that is neither a Service nor anything narthex knows.
    ResourceBackend => Error,
    /// A path or default backend that names no Service or no port.
    InvalidBackend => Error,
    /// The Service does not exist: 503.
    ServiceNotFound => Error,
    /// The Service has no such port: 503.
    PortNotFound => Error,
    /// The Service has no usable endpoint: 503.
    NoEndpoints => Warning,
    /// Only terminating endpoints are left, and they are used (KEP-1669).
    OnlyTerminating => Warning,
    /// No endpoint is known to be ready, as Kubernetes has lost sight of their nodes. Those that were ready last are used.
    ReadinessUnknown => Warning,
    /// An ExternalName Service while `--allow-external-names` is off: 503.
    ExternalNameRefused => Error,
    /// An ExternalName that does not resolve yet: 503.
    ExternalNameUnresolved => Error,
    /// A targetPort of an ExternalName Service, which has no pods.
    TargetPortUnused => Warning,
    /// An Ingress of another controller's class, or of none narthex serves.
    OtherClass => Info,
    /// A class that is nearly the name of one that narthex serves. Only `check` says it.
    ClassMisspelled => Warning,
    /// Rules that name no path, and no default backend either.
    NothingToServe => Warning,
    /// An address type narthex does not read (FQDN).
    UnsupportedAddressType => Warning,
    /// An endpoint address that is not an IP address.
    InvalidAddress => Error,
    /// An endpoint at an address that no rule may lead to: the node itself, cloud metadata, our admin side.
    EndpointRefused => Error,
    /// An EndpointSlice without `kubernetes.io/service-name`.
    OrphanSlice => Warning,
    /// An endpoint that is one of narthex's own listeners: requests would go round in circles.
    EndpointIsSelf => Error,
    /// `spec.tls` names a Secret that does not exist.
    SecretNotFound => Error,
    /// A Secret that does not exist, while one of nearly its name, or of its name in another namespace, does. Only `check` says it.
    SecretMisnamed => Error,
    /// `spec.tls` names a Secret that cert-manager is to make, and that does not exist yet.
    CertificateNotIssued => Warning,
    /// A Secret whose `tls.crt` and `tls.key` make no certificate.
    InvalidCertificate => Error,
    /// A `spec.tls` that names no Secret, while there is no default certificate either.
    NoCertificate => Warning,
    /// A certificate that is not valid any more.
    CertificateExpired => Error,
    /// A certificate that should have been renewed by now.
    CertificateExpiresSoon => Warning,
    /// A certificate that is not valid yet.
    CertificateNotYetValid => Warning,
    /// A certificate whose subjectAltNames lack the host it is used for.
    CertificateNameMismatch => Error,
    /// Another Ingress, older or earlier by name, has a certificate with the same kind of key for the host.
    CertificateConflict => Warning,
    /// A certificate for a host that an Ingress of another namespace had first.
    HostOfOtherNamespace => Error,
    /// A host that `--host-owners` gives to other namespaces.
    HostNotOwned => Error,
    /// A Route's host that another namespace has, or the same host and path of an older Route: the Route is not served.
    HostAlreadyClaimed => Error,
    /// A Route's host that an object of another kind and another namespace wants too.
    HostContested => Info,
    /// A Route without a host, while there is no `--route-domain` to make one: it is not served.
    NoHostValue => Error,
    /// A Route whose certificate does not fit its key or its host: it is not served.
    ExtendedValidationFailed => Error,
    /// A Route that asks for what the router's flags, or narthex, do not allow: it is not served.
    RouteNotAdmitted => Error,
    /// A field of a Route that OpenShift's API would refuse: the Route is not served.
    InvalidRoute => Error,
    /// A Route with `reencrypt` that names no authorities for its pods, while there is no `--route-service-ca`: those of the system
    /// verify them.
    NoServiceCa => Warning,
    /// A listener of a Gateway that is not served: its port, protocol or hostname does not allow it, or its certificate.
    ListenerRefused => Error,
    /// A route of Gateway API that a Gateway it names does not take, or a Gateway that does not exist.
    RouteNotAttached => Error,
    /// A reference to an object of another namespace that no ReferenceGrant of that namespace allows.
    RefNotPermitted => Error,
    /// A value of a Gateway API object that narthex cannot act on. Requests for a rule with such a value get 500.
    UnsupportedValue => Error,
    /// An `appProtocol` that narthex does not know: its pods are spoken to by HTTP/1.1.
    UnknownAppProtocol => Warning,
    /// TLS to pods whose certificates are not verified, as an annotation asks.
    BackendNotVerified => Info,
    /// An annotation (or an IngressClass's parameters) that guards routes, and that narthex does not enforce: they are
    /// closed, and requests get 503.
    GuardNotEnforced => Error,
    /// An annotation that guards routes, with a value that narthex cannot read: they are closed, and requests get 503.
    GuardInvalid => Error,
    /// A user of a Secret who cannot sign in, or whose password stands there in plain text.
    InvalidUser => Warning,
    /// A key of a set that cannot verify tokens.
    InvalidKey => Warning,
    /// A guard that is not enforced, but `--ignore-annotation` has the routes served without it.
    GuardIgnored => Warning,
    /// A host that another namespace guards, while this one's routes for it stay open.
    GuardOfOtherNamespace => Warning,
    /// An annotation narthex knows with a value it does not.
    InvalidAnnotation => Error,
    /// A key of the ConfigMap of ingress-nginx with a value that narthex cannot read: it is left out, or closes all
    /// routes where it says who may come in.
    InvalidConfig => Error,
    /// An address and port that cannot be listened on.
    ListenerNotOpen => Error,
    /// Something an annotation or field asks for that narthex cannot do yet.
    NotYet => Warning,
}

impl Code {
    /// Whether it says that an object, or a part of it, is not served at all: the table knows nothing of that.
    pub fn leaves_out(self) -> bool {
        matches!(
            self,
            Code::InvalidManifest
                | Code::InvalidObject
                | Code::InvalidHost
                | Code::InvalidPath
                | Code::InvalidPathType
                | Code::CanaryAlone
                | Code::OtherClass
                | Code::ClassMisspelled
                | Code::HostNotOwned
                | Code::HostAlreadyClaimed
                | Code::NoHostValue
                | Code::ExtendedValidationFailed
                | Code::RouteNotAdmitted
                | Code::InvalidRoute
                | Code::RouteNotAttached
        )
    }
}

/// Where in a file an object or a mistake stands; lines and columns count from 1.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Location {
    /// The file, as given.
    pub file: PathBuf,
    /// The line, or 0 where unknown.
    pub line: usize,
    /// The column, or 0 where unknown.
    pub column: usize,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}", self.file.display()),
            line => write!(f, "{}:{line}:{}", self.file.display(), self.column),
        }
    }
}

/// Bytes of a message, and of a field: what is quoted of an object may be a megabyte, and is said in logs and answers.
const LONGEST: usize = 1024;

/// The same, cut where it is too long, and with everything escaped that would not be seen.
pub fn shortened(mut text: String) -> String {
    if text.len() > LONGEST {
        text.truncate(text.floor_char_boundary(LONGEST));
        text.push('…');
    }
    match visible(&text, Keep::Nothing) {
        Cow::Borrowed(_) => text,
        Cow::Owned(shown) => shown,
    }
}

/// One problem of one object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Diagnostic {
    /// The object it is about; none for a file that holds no object.
    pub object: Option<ObjectRef>,
    /// The field, as `spec.rules[0].http.paths[1].backend`; empty for the whole object.
    pub field: String,
    /// What kind of problem.
    pub code: Code,
    /// One sentence that says what is wrong and what would be right.
    pub message: String,
    /// The file and line, where the object came from a file.
    pub location: Option<Location>,
}

impl Diagnostic {
    /// A problem of a field of an object. What is too long is cut.
    pub fn new(code: Code, object: &ObjectRef, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            object: Some(object.clone()),
            field: shortened(field.into()),
            code,
            message: shortened(message.into()),
            location: None,
        }
    }

    /// A problem of this process, and of no object.
    pub fn general(code: Code, message: impl Into<String>) -> Self {
        Self {
            object: None,
            field: String::new(),
            code,
            message: shortened(message.into()),
            location: None,
        }
    }

    /// How bad it is.
    pub fn severity(&self) -> Severity {
        self.code.severity()
    }
}

impl fmt::Display for Diagnostic {
    /// `default/web: spec.rules[0].http.paths[1].backend: Service "api" has no port 8443 (ports: 80/http)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(location) = &self.location {
            write!(f, "{location}: ")?;
        }
        if let Some(object) = &self.object {
            write!(f, "{object}: ")?;
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)
    }
}

/// A key that sorts `rules[2]` before `rules[10]`.
fn natural(field: &str) -> Vec<(usize, String)> {
    let mut parts = Vec::new();
    for part in field.split(['[', ']']) {
        parts.push(match part.parse() {
            Ok(index) => (index, String::new()),
            Err(_) => (0, part.to_owned()),
        });
    }
    parts
}

/// All that is known to be wrong, by object. Objects without a problem are not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Each object's problems, worst first.
    pub objects: BTreeMap<ObjectRef, Vec<Diagnostic>>,
    /// The hosts that an object names, as it writes them and in the order of its rules (an empty one is any), if something
    /// of it is [left out](Code::leaves_out).
    pub hosts_of: BTreeMap<ObjectRef, Arc<[Arc<str>]>>,
    /// What the directory source says of its files, where that is about no object in particular.
    pub files: Vec<Diagnostic>,
    /// The listeners that are not open.
    pub listeners: Vec<Diagnostic>,
}

impl Report {
    /// Every problem: of listeners and files first, then by object.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        let general = self.listeners.iter().chain(&self.files);
        general.chain(self.objects.values().flatten())
    }

    /// Replaces the diagnostics of one object. `hosts` says which hosts it names, and is asked only if something is left out.
    pub fn set(&mut self, object: &ObjectRef, mut diagnostics: Vec<Diagnostic>, hosts: impl FnOnce() -> Vec<Arc<str>>) {
        let leaves_out = diagnostics.iter().any(|one| one.code.leaves_out());
        let hosts = if leaves_out { hosts() } else { Vec::new() };
        if hosts.is_empty() {
            self.hosts_of.remove(object);
        } else {
            self.hosts_of.insert(object.clone(), hosts.into());
        }
        if diagnostics.is_empty() {
            self.objects.remove(object);
        } else {
            diagnostics.sort_by_cached_key(|one| (one.severity(), natural(&one.field), one.clone()));
            diagnostics.dedup();
            self.objects.insert(object.clone(), diagnostics);
        }
    }
}

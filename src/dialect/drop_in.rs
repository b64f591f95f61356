//! Ingress controllers whose objects narthex can serve as they did.

/// By whose rules an object is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// narthex's own.
    #[default]
    Narthex,
    /// Those of ingress-nginx.
    IngressNginx,
    /// Those of OpenShift's router, which has a kind of its own.
    OpenShift,
}

impl Dialect {
    /// The value of `--drop-in` for it.
    pub fn flag(self) -> &'static str {
        match self {
            Self::Narthex => "",
            Self::IngressNginx => "ingress-nginx",
            Self::OpenShift => "openshift",
        }
    }

    /// The controller that IngressClasses of it name; narthex's own class is a matter of the compiler.
    pub fn controller(self) -> Option<&'static str> {
        match self {
            Self::Narthex | Self::OpenShift => None,
            Self::IngressNginx => Some("k8s.io/ingress-nginx"),
        }
    }

    /// The class that needs no IngressClass.
    pub fn class(self) -> Option<&'static str> {
        match self {
            Self::Narthex | Self::OpenShift => None,
            Self::IngressNginx => Some("nginx"),
        }
    }
}

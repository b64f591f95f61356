//! What an object decides for the whole of its hosts, beside its rules.

use crate::table::{HostPattern, HostRegex, Template};

/// What is decided for each host of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HostWide {
    /// Where requests for `/` are sent.
    pub app_root: Option<Template>,
    /// Whether the host with `www.` in front, or without it, is redirected.
    pub www: bool,
    /// Other names of the host.
    pub aliases: Vec<Alias>,
    /// Whether redirects say the path alone.
    pub relative: bool,
    /// Whether redirects say the port that the client names.
    pub with_port: bool,
}

/// Another name of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Alias {
    Host(HostPattern),
    /// All names that an expression fits.
    Expression(HostRegex),
}

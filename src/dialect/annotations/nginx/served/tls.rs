//! Annotations about the TLS of clients.

use super::super::value::{boolean, number, secret, switch};
use super::super::{Served, Wrong};
use crate::dialect::annotations::clients::{VerifyWanted, error_page};
use crate::dialect::annotations::value::Value;
use crate::table::{SubjectPattern, Verify};

const SECRET: &str = "nginx.ingress.kubernetes.io/auth-tls-secret";
const VERIFY: &str = "nginx.ingress.kubernetes.io/auth-tls-verify-client";
const DEPTH: &str = "nginx.ingress.kubernetes.io/auth-tls-verify-depth";
const PAGE: &str = "nginx.ingress.kubernetes.io/auth-tls-error-page";
const PASS: &str = "nginx.ingress.kubernetes.io/auth-tls-pass-certificate-to-upstream";
const CIPHERS: &str = "nginx.ingress.kubernetes.io/ssl-ciphers";
const SUBJECT: &str = "nginx.ingress.kubernetes.io/auth-tls-match-cn";

pub(super) static ALL: &[Served] = &[
    Served {
        name: "auth-tls-error-page",
        differs: "it has to be a URL, as a page of the same host could not be reached",
        wrong: Wrong::Default("clients get 400"),
        value: Value::Text {
            form: "a URL, with variables",
            pattern: "^https?://[!-~]+$",
            read: |settings, text| {
                let page = error_page(text);
                settings.clients.beside(PAGE, |wanted| {
                    wanted.error_page = Some(page?);
                    Ok(())
                })
            },
        },
    },
    Served {
        name: "auth-tls-match-cn",
        differs: "",
        wrong: Wrong::Closes,
        value: Value::Text {
            form: "a regular expression that fits anywhere in the subject, such as `CN=client`",
            pattern: "^CN=.*$",
            read: |settings, text| {
                settings.clients.guarded(SUBJECT, |wanted| {
                    if !text.starts_with("CN=") {
                        return Err(format!("\"{text}\" does not begin with CN="));
                    }
                    let pattern = SubjectPattern::anywhere(text);
                    wanted.subject = Some(pattern.map_err(|why| format!("\"{text}\" {why}"))?);
                    Ok(())
                })
            },
        },
    },
    Served {
        name: "auth-tls-pass-certificate-to-upstream",
        differs: "",
        wrong: Wrong::Default("pods do not get the certificate"),
        value: switch(|settings, text| {
            let passed = boolean(text);
            settings.clients.beside(PASS, |wanted| {
                wanted.passed = passed?;
                Ok(())
            })
        }),
    },
    Served {
        name: "auth-tls-secret",
        differs: "where the Secret is missing, or its `ca.crt` or `ca.crl` cannot be read, requests get 503; plain requests \
                  that are not redirected to HTTPS get 400, except for tokens of ACME; sessions are not resumed; a host \
                  belongs to the namespace of its oldest Ingress, and only that decides",
        wrong: Wrong::Closes,
        value: Value::Text {
            form: "the name of a Secret in the namespace of the Ingress, perhaps with that before a `/`",
            pattern: "^[a-z0-9./-]+$",
            read: |settings, text| {
                let name = secret(settings, text);
                settings.clients.guarded(SECRET, |wanted| {
                    wanted.secret = Some((SECRET, name?));
                    Ok(())
                })
            },
        },
    },
    Served {
        name: "auth-tls-verify-client",
        differs: "",
        wrong: Wrong::Default("a certificate is required"),
        value: Value::Text {
            form: "one of `on`, `off`, `optional`, `optional_no_ca`",
            pattern: "^(on|off|optional|optional_no_ca)$",
            read: |settings, text| {
                settings.clients.beside(VERIFY, |wanted| {
                    wanted.verify = match text {
                        "on" => VerifyWanted::As(Verify::Required),
                        "off" => VerifyWanted::Off,
                        "optional" => VerifyWanted::As(Verify::Optional),
                        "optional_no_ca" => VerifyWanted::As(Verify::OptionalNoCa),
                        other => return Err(format!("\"{other}\" is not one of on, off, optional, optional_no_ca")),
                    };
                    Ok(())
                })
            },
        },
    },
    Served {
        name: "ssl-passthrough",
        differs: "lists of addresses and limits hold for connections too; where somebody has to show who it is, connections are refused",
        wrong: Wrong::Default("TLS ends at narthex"),
        value: switch(|settings, text| {
            settings.passes_tls = boolean(text)?;
            Ok(())
        }),
    },
    Served {
        name: "auth-tls-verify-depth",
        differs: "every certificate of `ca.crt` is an authority by itself, whether or not it is a root",
        wrong: Wrong::Default("it is 1"),
        value: Value::Text {
            form: "a whole number",
            pattern: "^[0-9]+$",
            read: |settings, text| {
                settings.clients.beside(DEPTH, |wanted| {
                    // As there, 0 means that nothing is said.
                    wanted.set_depth(number(text)?.max(1));
                    Ok(())
                })
            },
        },
    },
    Served {
        name: "ssl-ciphers",
        differs: "suites that narthex does not have are reported and left out, and if none is left the routes of the host are \
                  closed; those of TLS 1.3 are always taken, the client's order counts, and a connection for a host with \
                  other suites gets 421",
        wrong: Wrong::Closes,
        value: Value::Text {
            form: "a list of OpenSSL, such as `ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-CHACHA20-POLY1305`",
            pattern: "^[!-~ ]+$",
            read: |settings, text| settings.clients.terms.suites(CIPHERS, text),
        },
    },
];

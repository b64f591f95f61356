//! Names of whom certificates are, as RFC 2253 and OpenSSL write them: the last part first.

use rustls::pki_types::CertificateDer;
use std::fmt::Write;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// Attributes by their object identifiers, as OpenSSL abbreviates them.
const SHORT: &[(&str, &str)] = &[
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "street"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "title"),
    ("2.5.4.13", "description"),
    ("2.5.4.17", "postalCode"),
    ("2.5.4.42", "GN"),
    ("2.5.4.43", "initials"),
    ("2.5.4.44", "generationQualifier"),
    ("2.5.4.46", "dnQualifier"),
    ("2.5.4.65", "pseudonym"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
];

/// Whose a certificate is, and who has signed it; empty where it cannot be read.
pub fn subject_and_issuer(der: &CertificateDer<'_>) -> (Box<str>, Box<str>) {
    match X509Certificate::from_der(der) {
        Ok((_, certificate)) => (text(certificate.subject()), text(certificate.issuer())),
        Err(_) => (Box::default(), Box::default()),
    }
}

fn text(name: &X509Name<'_>) -> Box<str> {
    let mut out = String::new();
    let parts: Vec<_> = name.iter().collect();
    for (place, part) in parts.iter().rev().enumerate() {
        for (index, attribute) in part.iter().enumerate() {
            match (place, index) {
                (0, 0) => {}
                (_, 0) => out.push(','),
                _ => out.push('+'),
            }
            write(&mut out, attribute);
        }
    }
    out.into()
}

fn write(out: &mut String, attribute: &AttributeTypeAndValue<'_>) {
    let id = attribute.attr_type().to_id_string();
    let short = SHORT.iter().find(|(known, _)| *known == id).map(|(_, short)| *short);
    let value = short.and_then(|_| attribute.as_str().ok());
    out.push_str(short.unwrap_or(&id));
    out.push('=');
    match value {
        Some(value) => write_value(out, value),
        None => {
            out.push('#');
            let value = attribute.attr_value();
            let length = u8::try_from(value.data.len()).unwrap_or(u8::MAX);
            let tag = u8::try_from(value.tag().0).unwrap_or(u8::MAX);
            for byte in [tag, length].iter().chain(attribute.as_slice()) {
                // Writing to a String does not fail.
                let _ = write!(out, "{byte:02X}");
            }
        }
    }
}

/// Writes a value with what means something escaped (RFC 2253, section 2.4), and bytes that are not printable ASCII too.
fn write_value(out: &mut String, value: &str) {
    let last = value.len().saturating_sub(1);
    for (place, byte) in value.bytes().enumerate() {
        match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' => {
                out.push('\\');
                out.push(char::from(byte));
            }
            b'#' if place == 0 => out.push_str("\\#"),
            b' ' if place == 0 || place == last => out.push_str("\\ "),
            b' '..=b'~' => out.push(char::from(byte)),
            other => {
                let _ = write!(out, "\\{other:02X}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

    #[test]
    fn names_are_written_as_openssl_does() {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        let mut name = DistinguishedName::new();
        name.push(DnType::OrganizationName, "Ac, me+\"<>;\\");
        name.push(DnType::OrganizationalUnitName, " #x ");
        name.push(DnType::CommonName, "#caf\u{e9}\n");
        name.push(DnType::CustomDnType(vec![1, 2, 3, 4]), "z");
        parameters.distinguished_name = name;
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        let (subject, issuer) = subject_and_issuer(certificate.der());
        let wanted = r#"1.2.3.4=#0C017A,CN=\#caf\C3\A9\0A,OU=\ #x\ ,O=Ac\, me\+\"\<\>\;\\"#;
        assert_eq!(&*subject, wanted);
        assert_eq!(issuer, subject);
    }
}

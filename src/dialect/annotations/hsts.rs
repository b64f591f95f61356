//! The value of `Strict-Transport-Security` (RFC 6797 section 6.1).

/// Reads the directives in any order and case, and writes them as everybody does: `max-age=N; includeSubDomains;
/// preload`. A browser leaves out the whole field where it finds a mistake, so there must be none.
///
/// # Errors
/// What is wrong, and what would be right.
pub(super) fn normalise(text: &str) -> Result<String, String> {
    let mut max_age: Option<u64> = None;
    let mut subdomains = false;
    let mut preload = false;
    let directives = text.split(';').map(str::trim).filter(|one| !one.is_empty());
    for directive in directives {
        let (name, value) = match directive.split_once('=') {
            Some((name, value)) => (name.trim_end(), Some(value.trim_start())),
            None => (directive, None),
        };
        let name = name.to_ascii_lowercase();
        let twice = match (name.as_str(), value) {
            ("max-age", value) => {
                let seconds = value
                    .and_then(seconds)
                    .ok_or_else(|| "max-age requires a whole number of seconds, as in max-age=31536000".to_owned())?;
                max_age.replace(seconds).is_some()
            }
            ("includesubdomains", None) => std::mem::replace(&mut subdomains, true),
            ("preload", None) => std::mem::replace(&mut preload, true),
            ("includesubdomains" | "preload", Some(_)) => return Err(format!("{name} has no value")),
            _ => {
                return Err(format!(
                    "\"{directive}\" is not one of max-age=SECONDS, includeSubDomains, preload"
                ));
            }
        };
        if twice {
            return Err(format!("{name} is given twice"));
        }
    }
    let Some(max_age) = max_age else {
        return Err("it requires max-age=SECONDS".to_owned());
    };
    let mut out = format!("max-age={max_age}");
    if subdomains {
        out.push_str("; includeSubDomains");
    }
    if preload {
        out.push_str("; preload");
    }
    Ok(out)
}

/// `delta-seconds`, also as a quoted string.
fn seconds(text: &str) -> Option<u64> {
    let quoted = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    let digits = quoted.unwrap_or(text);
    // `parse` alone would take a sign too.
    digits
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| digits.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::normalise;

    #[test]
    fn directives_have_one_form() {
        for (given, wanted) in [
            ("max-age=0", "max-age=0"),
            ("max-age=\"60\"", "max-age=60"),
            (
                "preload; INCLUDESUBDOMAINS ; Max-Age = 31536000;",
                "max-age=31536000; includeSubDomains; preload",
            ),
        ] {
            assert_eq!(normalise(given).as_deref(), Ok(wanted), "{given}");
        }
    }

    #[test]
    fn what_browsers_would_ignore_is_refused() {
        for given in [
            "",
            "includeSubDomains",
            "max-age",
            "max-age=",
            "max-age=+1",
            "max-age=1y",
            "max-age=99999999999999999999",
            "max-age=1; max-age=1",
            "max-age=1; preload=1",
            "max-age=1; preload; preload",
            "max-age=1, preload",
            "max-age=1; always",
        ] {
            assert!(normalise(given).is_err(), "{given}");
        }
    }
}

//! Browsers that refuse cookies with `SameSite=None`, or take it for `Strict`: those of
//! https://www.chromium.org/updates/same-site/incompatible-clients.

/// Whether a browser with this `User-Agent` is one of them.
pub fn misreads_none(agent: &str) -> bool {
    let has = |text: &str| agent.contains(text);
    // All browsers of iOS 12, and Safari and embedded browsers of macOS 10.14, have the same engine.
    let ios_12 = has("(iP") && has("OS 12_");
    let safari = has("Version/") && has("Safari/") && !has("Chrome/") && !has("Chromium/");
    let embedded = agent.trim_end().ends_with("(KHTML, like Gecko)");
    let macos_10_14 = has("Macintosh;") && has("Mac OS X 10_14") && (safari || embedded);
    if ios_12 || macos_10_14 {
        return true;
    }
    if let Some(version) = version(agent, "UCBrowser/") {
        return version < (12, 13, 2);
    }
    let chrome = version(agent, "Chrome/").or_else(|| version(agent, "Chromium/"));
    chrome.is_some_and(|(major, ..)| (51..67).contains(&major))
}

/// The version behind a name.
fn version(agent: &str, name: &str) -> Option<(u32, u32, u32)> {
    let (_, behind) = agent.split_once(name)?;
    let end = behind.find(|one: char| !one.is_ascii_digit() && one != '.');
    let mut parts = behind
        .get(..end.unwrap_or(behind.len()))?
        .split('.')
        .map(|part| part.parse().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    Some((next(), next(), next()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_browsers_are_known() {
        for (agent, wanted) in [
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 12_0 like Mac OS X) AppleWebKit/605 (KHTML, like Gecko) Version/12.0 Safari/604",
                true,
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 13_0 like Mac OS X) AppleWebKit/605 (KHTML, like Gecko) Version/13.0 Safari/604",
                false,
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_14_6) AppleWebKit/605 (KHTML, like Gecko) Version/12.1 Safari/605",
                true,
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_14_6) AppleWebKit/605 (KHTML, like Gecko)",
                true,
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_14_6) AppleWebKit/537 (KHTML, like Gecko) Chrome/80.0 Safari/537",
                false,
            ),
            (
                "Mozilla/5.0 (X11; Linux) AppleWebKit/537 (KHTML, like Gecko) Chrome/51.0 Safari/537",
                true,
            ),
            (
                "Mozilla/5.0 (X11; Linux) AppleWebKit/537 (KHTML, like Gecko) Chrome/66.0 Safari/537",
                true,
            ),
            (
                "Mozilla/5.0 (X11; Linux) AppleWebKit/537 (KHTML, like Gecko) Chrome/67.0 Safari/537",
                false,
            ),
            (
                "Mozilla/5.0 (Linux; U; Android 8) AppleWebKit/537 Chrome/57.0 UCBrowser/12.13.1.1189 Mobile",
                true,
            ),
            (
                "Mozilla/5.0 (Linux; U; Android 8) AppleWebKit/537 Chrome/57.0 UCBrowser/12.13.2.1189 Mobile",
                false,
            ),
            ("curl/8", false),
            ("Chrome/", false),
        ] {
            assert_eq!(misreads_none(agent), wanted, "{agent}");
        }
    }
}
